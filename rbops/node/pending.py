"""Files that decide about the next boot: prepared during a change, put in place when it is confirmed.

Until then they are beside the real ones under a name that neither GRUB nor modprobe reads, so that a server
that reboots with a change unconfirmed boots as before it. An empty one means removal.
"""

from __future__ import annotations

from rbops.errors import CheckFailed
from rbops.node.execute import execute
from rbops.node.settings import Run
from rbops.node.system import System

__all__ = ["MENU", "MODPROBE", "MODULES_LOAD", "coming", "commit", "discard", "prepared"]

MENU = "/boot/grub/grub.cfg"
MODPROBE = "/etc/modprobe.d/zz-rbops.conf"
MODULES_LOAD = "/etc/modules-load.d/rbops.conf"

_TARGETS = (MODPROBE, MODULES_LOAD, MENU)
_SUFFIX = ".rbops-new"
_BOOT, _IMAGE = "/boot", "initrd.img-"


def prepared(target: str) -> str:
    """Where the next version of ``target`` is written."""
    return target + _SUFFIX


def coming(system: System, target: str) -> str | None:
    """The text that ``target`` will have after the change is confirmed: the prepared one, else its own."""
    text = system.read(prepared(target))
    return system.read(target) if text is None else text or None


def commit(system: System) -> None:
    """Put what is prepared in place. CheckFailed (1) when that fails; doing it again goes on with what is left."""
    renewed = system.read(prepared(MODPROBE))
    named = _modules(f"{renewed}\n{system.read(MODPROBE) or ''}") if renewed is not None else frozenset()
    try:
        for target in _TARGETS:
            text = system.read(prepared(target))
            if text is None:
                continue
            if text:
                system.move(prepared(target), target)
            else:
                system.put(target, None)
                system.put(prepared(target), None)
    except OSError as error:
        raise CheckFailed(f"cannot install the files of the next boot: {error}", code="node.next-boot") from error
    if named:
        _renew_initramfs(system, named)


def discard(system: System) -> None:
    """Forget what is prepared."""
    for target in _TARGETS:
        system.put(prepared(target), None)


def _modules(options: str) -> frozenset[str]:
    """The modules that have options in such a file."""
    return frozenset(line.split()[1] for line in options.splitlines() if line.startswith("options "))


def _renew_initramfs(system: System, named: frozenset[str]) -> None:
    """An initramfs has its own copy of modprobe's files, for the modules that it loads itself."""
    # Renewing takes minutes on a slow machine: only where it would change something.
    stale = [
        name.removeprefix(_IMAGE)
        for name in system.names(_BOOT)
        if name.startswith(_IMAGE) and _holds(system, f"{_BOOT}/{name}", named)
    ]
    execute(system, [Run(("update-initramfs", "-u", "-k", version)) for version in stale])


def _holds(system: System, image: str, named: frozenset[str]) -> bool:
    if system.read("/usr/bin/lsinitramfs") is None:
        return False
    files = system.run(("lsinitramfs", image)).stdout.splitlines()
    inside = {path.rpartition("/")[2].partition(".ko")[0].replace("-", "_") for path in files if ".ko" in path}
    return any(module.replace("-", "_") in inside for module in named)
