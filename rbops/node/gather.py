"""All facts of this server, gathered without changing anything."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.node import kernel_facts, nics, processors
from rbops.node.facts import Facts
from rbops.node.system import System

__all__ = ["gather"]

_CPU = "/sys/devices/system/cpu"
_DMI = "/sys/class/dmi/id"


def gather(system: System, environment: Mapping[str, str]) -> Facts:
    """Read /sys, /proc, ``ip`` and ``ethtool``; ``environment`` says over which address SSH came."""
    clock_hz, clock_source = processors.clock(system)
    return Facts(
        hostname=system.read("/proc/sys/kernel/hostname") or "",
        machine_id=system.read("/etc/machine-id"),
        vendor=system.read(f"{_DMI}/sys_vendor"),
        product=system.read(f"{_DMI}/product_name"),
        virtualisation=kernel_facts.virtualisation(system),
        cpu_model=processors.model(system),
        clock_hz=clock_hz,
        clock_source=clock_source,
        memory_bytes=processors.memory(system),
        present=processors.ids(system, f"{_CPU}/present"),
        online=processors.ids(system, f"{_CPU}/online"),
        possible=processors.ids(system, f"{_CPU}/possible"),
        smt=system.read(f"{_CPU}/smt/control"),
        cpus=processors.cpus(system),
        caches=processors.caches(system),
        nodes=processors.nodes(system),
        hugepages=processors.hugepages(system),
        kernel=kernel_facts.facts(system),
        nics=nics.nics(system, environment),
    )
