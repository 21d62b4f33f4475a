"""Boot parameters: written for GRUB, compared by value with what the kernel was booted with.

The fragment in grub.d takes the planned names out of what GRUB's other files say and adds the planned values.
The parameters of the next boot are read from GRUB's menu, those of this one from /proc/cmdline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from rbops.errors import Mismatch, Where
from rbops.node import cmdline
from rbops.node.pending import MENU, coming, prepared
from rbops.node.settings import Put, Run, Setting
from rbops.node.state import State, read_json, write_whole
from rbops.node.system import System

__all__ = [
    "FRAGMENT",
    "REBOOT",
    "SUBJECT",
    "check",
    "fragment",
    "in_container",
    "menu_line",
    "other_loader",
    "owned",
    "remember",
    "settings",
]

SUBJECT = "boot"
FRAGMENT = "/etc/default/grub.d/zz-rbops.cfg"
REBOOT = "takes effect at the next reboot"

_MAKE_MENU = "/usr/sbin/grub-mkconfig"
_LOADER_INFO = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_ATTRIBUTES = 4
_LINUX = re.compile(r"^\s*linux(?:16|efi)?\s+\S+[ \t]*(.*)$", re.MULTILINE)

_HEAD = """\
# Written by rbops: the plan's boot parameters, instead of what other files say of them. Removed with the last of them.
rbops_others() (
  set -f
  kept=
  for word in $1; do
    case "$word" in
      {patterns}) ;;
      *) kept="$kept $word" ;;
    esac
  done
  printf %s "${{kept# }}"
)
GRUB_CMDLINE_LINUX="$(rbops_others "$GRUB_CMDLINE_LINUX")"
GRUB_CMDLINE_LINUX_DEFAULT="$(rbops_others "$GRUB_CMDLINE_LINUX_DEFAULT") {parameters}"
"""


def in_container(system: System) -> bool:
    """Whether this is a container, whose kernel is its host's (systemd writes the file, container interface)."""
    return bool(system.read("/run/systemd/container"))


def check(wanted: tuple[tuple[str, str], ...], system: System, server: str) -> None:
    """Mismatch (3) where boot parameters are planned and there is no GRUB that could pass them."""
    if not wanted or in_container(system):
        return
    loader = other_loader(system)
    if loader or system.read(_MAKE_MENU) is None or not system.read(MENU):
        line = cmdline.written(wanted)
        found = f"it was booted by {loader}" if loader else f"{_MAKE_MENU}, {MENU}"
        raise Mismatch(
            f"boot parameters are planned, but the server does not boot with GRUB ({found})",
            code="node.no-grub",
            where=Where(server=server),
            hint="install grub-efi-amd64 or grub-pc; or remove isolate, hugepages and parameters from the spec's "
            f"`kernel:` and configure its boot loader by hand: {line}",
        )


def other_loader(system: System) -> str | None:
    """What booted this system, where it says so and is not GRUB, whose menu may be left from before.

    Loaders that keep the Boot Loader Interface leave their name in an EFI variable (systemd-boot: "systemd-boot 252",
    GRUB from 2.12: "GRUB 2.12"). Without it the kernel's command line tells: GRUB begins it with BOOT_IMAGE and hands
    the initrd over in memory; others (systemd-boot, syslinux, iPXE, firmware) name it there, or have no BOOT_IMAGE.
    """
    named = system.read(_LOADER_INFO)
    if named is not None:
        # Four octets of attributes, then UTF-16.
        text = "".join(character for character in named[_ATTRIBUTES:] if character.isprintable()).strip()
        if text:
            return None if text.upper().startswith("GRUB") else text
    now = (system.read("/proc/cmdline") or "").split()
    handed = next((word for word in now if word.startswith("initrd=")), None)
    if handed:
        return f"another loader ({handed})"
    return "another loader (no BOOT_IMAGE)" if now and not any(word.startswith("BOOT_IMAGE=") for word in now) else None


def fragment(wanted: Iterable[tuple[str, str]]) -> str:
    """The text of :data:`FRAGMENT`."""
    pairs = tuple(wanted)
    names = sorted({spelled for name, _ in pairs for spelled in (name.replace("-", "_"), name.replace("_", "-"))})
    patterns = "|".join(f"{name}|{name}=*" for name in names)
    return _HEAD.format(patterns=patterns, parameters=cmdline.written(pairs))


def menu_line(menu: str) -> str:
    """What GRUB's first entry, the one that boots by itself, passes to the kernel."""
    match = _LINUX.search(menu)
    return match[1] if match else ""


def settings(wanted: tuple[tuple[str, str], ...], was: frozenset[str], system: System) -> list[Setting]:
    """The next boot's parameters, and which of this boot's differ from them.

    ``was`` are the names that rbops planned earlier: those that are not planned any more are active until
    a reboot too.
    """
    want = cmdline.planned(wanted)
    gone = sorted(was - want.keys())
    if not want and not gone:
        return []
    if in_container(system):
        text = cmdline.described(want, want)
        reason = "a container boots with its host's parameters"
        return [Setting(SUBJECT, "parameters", "the host's", text, unsupported=reason)] if want else []
    following = cmdline.parse(menu_line(coming(system, MENU) or ""))
    now = cmdline.parse(system.read("/proc/cmdline") or "")
    found = _next_boot(wanted, following, system)
    for name in (*want, *gone):
        # What is not planned any more becomes what GRUB's own files say.
        value = want.get(name, following.get(name))
        have = now.get(name)
        same = cmdline.equal(name, have, value)
        shown = cmdline.shown(value)
        text = shown if same else cmdline.shown(have)
        found.append(Setting(SUBJECT, name, text, shown, unsupported=None if same else REBOOT))
    return found


def _next_boot(wanted: tuple[tuple[str, str], ...], following: dict[str, str], system: System) -> list[Setting]:
    if not wanted:
        return []
    want = cmdline.planned(wanted)
    text, present = fragment(wanted), system.read(FRAGMENT)
    label = cmdline.described(want, want)
    same = all(cmdline.equal(name, following.get(name), value) for name, value in want.items())
    have = label if same else cmdline.described(want, following)
    if same and present != text.strip():
        have = f"{FRAGMENT} {'differs' if present else 'absent'}"
    make = Run(("grub-mkconfig", "-o", prepared(MENU)))
    undo = Put(FRAGMENT, None if present is None else f"{present}\n")
    return [Setting(SUBJECT, "next boot", have, label, (Put(FRAGMENT, text), make), (undo, make))]


def owned(state: State) -> frozenset[str]:
    """The names that rbops planned on this server and that may still be active."""
    record = read_json(state.boot)
    return frozenset(str(name) for name in record["parameters"]) if record else frozenset()


def remember(wanted: tuple[tuple[str, str], ...], state: State, system: System) -> None:
    """After a change: what is planned, and what is still active of what was planned before."""
    before = owned(state)
    now = cmdline.parse(system.read("/proc/cmdline") or "")
    names = {*cmdline.planned(wanted), *(name for name in before if name in now)}
    if names and names != before:
        write_whole(state.boot, json.dumps({"parameters": sorted(names)}).encode())
    elif before and not names:
        state.boot.unlink(missing_ok=True)
