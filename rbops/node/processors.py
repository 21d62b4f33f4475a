"""Processors, caches, NUMA nodes and memory, as /sys and /proc show them. Reads only."""

from __future__ import annotations

import re
from dataclasses import replace

from rbops.node.cpus import parse_list
from rbops.node.facts import CacheFacts, CpuFacts, HugepageFacts, NodeFacts
from rbops.node.system import System

__all__ = ["caches", "clock", "cpus", "hugepages", "ids", "memory", "model", "nodes", "number"]

_CPU = "/sys/devices/system/cpu"
_NODE = "/sys/devices/system/node"
_SIZE = re.compile(r"(\d+)([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def ids(system: System, path: str) -> tuple[int, ...]:
    """The CPU ids of a list file; empty when it is not there, says ``(null)`` or is no list."""
    try:
        return tuple(sorted(parse_list(system.read(path) or "")))
    except ValueError:
        return ()


def cpus(system: System) -> tuple[CpuFacts, ...]:
    """Every online CPU; the kernel shows no topology of the others."""
    online = ids(system, f"{_CPU}/online")
    slower = _slower(system, online)
    return tuple(replace(_cpu(system, cpu), slower=cpu in slower) for cpu in online)


def _slower(system: System, online: tuple[int, ...]) -> frozenset[int]:
    """The efficiency cores: Intel's by the PMU they have, Arm's by their capacity (1024 is the fastest)."""
    efficient = {cpu for name in ("cpu_atom", "cpu_lowpower") for cpu in ids(system, f"/sys/devices/{name}/cpus")}
    if efficient and ids(system, "/sys/devices/cpu_core/cpus"):
        return frozenset(efficient)
    capacity = {cpu: number(system, f"{_CPU}/cpu{cpu}/cpu_capacity") or 0 for cpu in online}
    most = max(capacity.values(), default=0)
    return frozenset(cpu for cpu, value in capacity.items() if 0 < value < most)


def _cpu(system: System, cpu: int) -> CpuFacts:
    base = f"{_CPU}/cpu{cpu}"
    topology = f"{base}/topology"
    node = next((int(name[4:]) for name in system.names(base) if re.fullmatch(r"node\d+", name)), None)
    siblings = ids(system, f"{topology}/thread_siblings_list") or ids(system, f"{topology}/core_cpus_list")
    socket, core = (number(system, f"{topology}/{name}") for name in ("physical_package_id", "core_id"))
    # -1 is how some firmware and virtual machines say that they do not know.
    return CpuFacts(cpu, max(0, socket or 0), cpu if core is None or core < 0 else core, node, siblings or (cpu,))


def caches(system: System) -> tuple[CacheFacts, ...]:
    """Every cache once, by level and first CPU."""
    found: dict[tuple[int, str, tuple[int, ...]], CacheFacts] = {}
    for cpu in ids(system, f"{_CPU}/online"):
        base = f"{_CPU}/cpu{cpu}/cache"
        for name in system.names(base):
            level, size = (
                number(system, f"{base}/{name}/level"),
                _SIZE.fullmatch(system.read(f"{base}/{name}/size") or ""),
            )
            if level is None or size is None:
                continue
            kind = system.read(f"{base}/{name}/type") or "Unified"
            shared = ids(system, f"{base}/{name}/shared_cpu_list") or (cpu,)
            found[level, kind, shared] = CacheFacts(level, kind, int(size[1]) * _UNITS[size[2]], shared)
    return tuple(sorted(found.values(), key=lambda cache: (cache.level, cache.cpus, cache.kind)))


def nodes(system: System) -> tuple[NodeFacts, ...]:
    """The NUMA nodes; empty on a kernel without NUMA."""
    found = []
    for name in sorted(system.names(_NODE)):
        if re.fullmatch(r"node\d+", name):
            match = re.search(r"MemTotal:\s+(\d+) kB", system.read(f"{_NODE}/{name}/meminfo") or "")
            memory_bytes = int(match[1]) * 1024 if match else None
            found.append(NodeFacts(int(name[4:]), ids(system, f"{_NODE}/{name}/cpulist"), memory_bytes))
    return tuple(sorted(found, key=lambda node: node.id))


def hugepages(system: System) -> tuple[HugepageFacts, ...]:
    """The pools by page size."""
    base = "/sys/kernel/mm/hugepages"
    found = []
    for name in system.names(base):
        match = re.fullmatch(r"hugepages-(\d+)kB", name)
        if match:
            total, free = (number(system, f"{base}/{name}/{key}") or 0 for key in ("nr_hugepages", "free_hugepages"))
            found.append(HugepageFacts(int(match[1]) * 1024, total, free))
    return tuple(sorted(found, key=lambda pool: pool.size_bytes))


def memory(system: System) -> int | None:
    """All memory, in bytes."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", system.read("/proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def model(system: System) -> str | None:
    """The processor's name for itself."""
    match = re.search(r"^model name\s*:\s*(.+)$", system.read("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def clock(system: System) -> tuple[int | None, str | None]:
    """(Hz without boost, where that is from), the most trustworthy source first."""
    base = f"{_CPU}/cpu0"
    kilohertz = number(system, f"{base}/cpufreq/base_frequency")
    if kilohertz:
        return kilohertz * 1000, "cpufreq/base_frequency"
    megahertz = number(system, f"{base}/acpi_cppc/nominal_freq")
    if megahertz:
        return megahertz * 1_000_000, "acpi_cppc/nominal_freq"
    named = re.search(r"@ ([0-9.]+) ?GHz", model(system) or "")
    if named:
        return round(float(named[1]) * 1e9), "the model's name"
    most = number(system, f"{base}/cpufreq/cpuinfo_max_freq")
    if most:
        return most * 1000, "cpufreq/cpuinfo_max_freq, with boost"
    now = re.search(r"^cpu MHz\s*:\s*([0-9.]+)", system.read("/proc/cpuinfo") or "", re.MULTILINE)
    if now:
        # To the nearest MHz: what is measured at boot differs a little from boot to boot.
        return round(float(now[1])) * 1_000_000, "/proc/cpuinfo, as it is now"
    return None, None


def number(system: System, path: str) -> int | None:
    """A file's whole number; None when there is none."""
    text = system.read(path) or ""
    return int(text) if re.fullmatch(r"-?\d+", text) else None
