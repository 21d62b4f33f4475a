"""Files that decide about the next boot: prepared during a change, put in place when it is confirmed.

Until then they lie beside the real ones under a name that neither GRUB nor modprobe reads, so that a server
that reboots with a change unconfirmed boots as before it. An empty one stands for removal.
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
_BOOT = "/boot"


def prepared(target: str) -> str:
    """Where the next version of ``target`` is written."""
    return target + _SUFFIX


def coming(system: System, target: str) -> str | None:
    """The text that ``target`` will have after the change is confirmed: the prepared one, else its own."""
    text = system.read(prepared(target))
    return system.read(target) if text is None else text or None


def commit(system: System) -> None:
    """Put what is prepared in place. CheckFailed (1) when that fails; doing it again goes on with what is left."""
    modules_changed = system.read(prepared(MODPROBE)) is not None
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
        raise CheckFailed(f"what decides about the next boot cannot be put in place: {error}") from error
    if modules_changed:
        _renew_initramfs(system)


def discard(system: System) -> None:
    """Forget what is prepared."""
    for target in _TARGETS:
        system.put(prepared(target), None)


def _renew_initramfs(system: System) -> None:
    """An initramfs has its own copy of modprobe's files, for the modules that it loads itself."""
    images = [name for name in system.names(_BOOT) if name.startswith("initrd.img-")]
    if images and system.read("/usr/sbin/update-initramfs") is not None:
        execute(system, [Run(("update-initramfs", "-u", "-k", "all"))])
