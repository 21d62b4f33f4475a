"""What must hold within the section ``kernel:``: nothing is said in two places."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.common.sysctls import is_router_sysctl
from rbops.errors import Diagnostic
from rbops.spec.kernel_words import same_parameter
from rbops.spec.source import Node, Path
from rbops.spec.units import shown
from rbops.spec.validate import Parts, located

__all__ = ["check_kernel"]

_ISOLATION = frozenset({"isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity"})
_HUGEPAGES = frozenset({"hugepages", "hugepagesz"})


def check_kernel(parts: Parts) -> Iterator[Diagnostic]:
    """No boot parameter beside the setting that computes it, none twice; no sysctl that is the router's own."""
    kernel = parts.root.child("kernel")
    if kernel is None:
        return
    isolate = kernel.child("isolate")
    taken = dict.fromkeys(_ISOLATION, "isolate: on") if isolate and isolate.value == "on" else {}
    if kernel.child("hugepages"):
        taken |= dict.fromkeys(_HUGEPAGES, "hugepages")
    for name in _names(kernel, "parameters"):
        path: Path = ("kernel", "parameters", name)
        setting = taken.get(same_parameter(name))
        if setting:
            said = (
                f"{shown(name)} is already set by `{setting}`, from the plan's cores"
                if "iso" in setting
                else (f"{shown(name)} is already set by `{setting}`")
            )
            yield located(parts.root, path, said, "remove one of the two", key=True, code="spec.conflict")
    yield from _twice(parts, kernel, "parameters")
    yield from _twice(parts, kernel, "modules")
    for key in _names(kernel, "sysctl"):
        if is_router_sysctl(key):
            said = f"{shown(key)} is set by rbops"
            yield located(parts.root, ("kernel", "sysctl", key), said, "leave it out", key=True, code="spec.reserved")


def _names(kernel: Node, section: str) -> list[str]:
    node = kernel.child(section)
    return list(node.value) if node and isinstance(node.value, dict) else []


def _twice(parts: Parts, kernel: Node, section: str) -> Iterator[Diagnostic]:
    """The kernel takes - and _ in names for one."""
    seen: dict[str, str] = {}
    for name in _names(kernel, section):
        other = seen.setdefault(same_parameter(name), name)
        if other != name:
            line = parts.key_line(("kernel", section, other))
            said = f"{shown(name)} is the same name to the kernel as {other} on line {line}"
            yield located(
                parts.root, ("kernel", section, name), said, "remove one of the two", key=True, code="spec.duplicate"
            )
