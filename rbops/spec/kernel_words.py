"""Names and values of boot parameters, modules and sysctls: text that a boot loader, modprobe and the kernel read.

As in ``words``: text in, value out, ``InvalidValue`` with a hint otherwise. None of them can begin a second line, a
comment or a command in the files that they are written to.
"""

from __future__ import annotations

import re

from rbops.spec.units import InvalidValue, shown

__all__ = [
    "BOOT_LOADERS",
    "module_name",
    "module_parameter",
    "module_value",
    "parameter_name",
    "parameter_value",
    "same_parameter",
    "sysctl_key",
    "sysctl_value",
]

BOOT_LOADERS = frozenset({"root", "ro", "rw", "init", "rdinit", "initrd", "boot_image", "rootfstype", "rootflags"})
"""What the boot loader's own configuration says; a wrong one leaves a server that does not boot."""

_LONGEST = 255
_SAFE = "letters, digits and . , : / _ + = @ % -"


def same_parameter(name: str) -> str:
    """The kernel takes ``-`` and ``_`` in a parameter's name for one (kernel/params.c)."""
    return name.replace("-", "_").lower()


def parameter_name(text: str) -> str:
    """A boot parameter's name: ``intel_iommu``, ``processor.max_cstate``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid boot parameter name", "for example intel_iommu", code="spec.name"
        )
    if same_parameter(text) in BOOT_LOADERS:
        raise InvalidValue(
            f"{shown(text)} is set by the boot loader", "change it in the server's boot loader", code="spec.reserved"
        )
    return text


def parameter_value(text: str) -> str:
    """A boot parameter's value; empty for one that has none."""
    if not text:
        return text
    return _value(text, "a boot parameter's value", 'for example on, 1 or 2,4-7; "" for a parameter without value')


def module_name(text: str) -> str:
    """A module's name: ``ixgbe``, ``vfio-pci``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid kernel module name",
            "as `lsmod` prints it, for example ixgbe",
            code="spec.name",
        )
    return text


def module_parameter(text: str) -> str:
    """A module parameter's name, as modinfo prints it."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid module parameter name",
            "as `modinfo -F parm` prints it, for example max_vfs",
            code="spec.name",
        )
    return text


def module_value(text: str) -> str:
    """A module parameter's value: one word."""
    return _value(text, "a module parameter's value", "for example 1 or 8,8")


def sysctl_key(text: str) -> str:
    """A sysctl with dots between its parts: ``net.core.rmem_max``."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)+", text) or len(text) > _LONGEST:
        raise InvalidValue(
            f"{shown(text)} is not a valid sysctl name",
            "parts with dots between, for example net.core.rmem_max",
            code="spec.name",
        )
    return text


def sysctl_value(text: str) -> str:
    """One value, or several with spaces between: ``4096 87380 6291456``."""
    words = text.split(" ")
    if not all(re.fullmatch(r"[A-Za-z0-9.,:/_+=@%-]+", word) for word in words) or len(text) > _LONGEST:
        raise InvalidValue(
            f"{shown(text)} is not a valid sysctl value",
            f"one line of words with single spaces between, of {_SAFE}",
            code="spec.value",
        )
    return text


def _value(text: str, what: str, example: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.,:/_+=@%-]+", text) or len(text) > _LONGEST:
        raise InvalidValue(f"{shown(text)} is not {what}", f"one word of {_SAFE}, {example}", code="spec.value")
    return text
