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
                f"`{setting}` already says {shown(name)}, from the plan's cores"
                if "iso" in setting
                else (f"`{setting}` already says {shown(name)}")
            )
            yield located(parts.root, path, said, "leave one of the two out", key=True)
    yield from _twice(parts, kernel, "parameters")
    yield from _twice(parts, kernel, "modules")
    for key in _names(kernel, "sysctl"):
        if is_router_sysctl(key):
            said = f"{shown(key)} is the router's own: rbops sets it"
            yield located(parts.root, ("kernel", "sysctl", key), said, "leave it out", key=True)


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
            said = f"to the kernel {shown(name)} is {other}, on line {line}"
            yield located(parts.root, ("kernel", section, name), said, "leave one of the two out", key=True)
