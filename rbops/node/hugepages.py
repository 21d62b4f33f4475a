"""Huge pages at run time, on the NUMA nodes of the data-plane cores (Documentation/admin-guide/mm/hugetlbpage.rst)."""

from __future__ import annotations

from rbops.node.schema import NodeConfig
from rbops.node.settings import Run, Setting, Write
from rbops.node.system import System

__all__ = ["SUBJECT", "nodes_of", "settings"]

SUBJECT = "huge pages"
_NODES = "/sys/devices/system/node"
_MOUNTS = {2048: "/dev/hugepages", 1048576: "/dev/hugepages1G"}
_SUFFIX = {2048: "2M", 1048576: "1024M"}


def nodes_of(system: System, cpus: frozenset[int]) -> frozenset[int]:
    """The NUMA nodes of these CPUs; none where the kernel knows no nodes."""
    found = set()
    for cpu in cpus:
        names = system.names(f"/sys/devices/system/cpu/cpu{cpu}")
        found |= {int(name[4:]) for name in names if name.startswith("node") and name[4:].isdigit()}
    return frozenset(found)


def settings(config: NodeConfig, system: System) -> list[Setting]:
    """At least the planned pages of each size on each node, and a mount for each size.

    More pages than planned belong to other programs. Fewer after the change means that memory is fragmented.
    """
    found = []
    nodes = sorted(nodes_of(system, frozenset(config.cores)))
    for size, count in sorted(config.userspace.hugepages.items()):
        places = {f"node {node}": f"{_NODES}/node{node}/hugepages" for node in nodes} or {
            "all": "/sys/kernel/mm/hugepages"
        }
        for place, base in places.items():
            found.append(_pages(system, f"{size} kB, {place}", f"{base}/hugepages-{size}kB/nr_hugepages", count))
        found += _mount(system, size)
    return found


def _pages(system: System, name: str, path: str, count: int) -> Setting:
    text = system.read(path)
    want = f"at least {count}"
    if text is None:
        reason = "this CPU or kernel has no pages of this size"
        return Setting(SUBJECT, name, "none", want, unsupported=reason)
    if int(text) >= count:
        return Setting(SUBJECT, name, want, want)
    return Setting(SUBJECT, name, text, want, (Write(path, str(count)),), (Write(path, text),))


def _mount(system: System, size: int) -> list[Setting]:
    target, suffix = _MOUNTS.get(size), _SUFFIX.get(size)
    if target is None or suffix is None:
        return []
    mounts = [line.split() for line in (system.read("/proc/mounts") or "").splitlines()]
    there = any(words[1] == target and words[2] == "hugetlbfs" for words in mounts)
    have, want = target if there else "none", target
    do = (Run(("mkdir", "-p", target)), Run(("mount", "-t", "hugetlbfs", "-o", f"pagesize={suffix}", "none", target)))
    return [Setting(SUBJECT, f"{size} kB mount", have, want, do, (Run(("umount", target)),))]
