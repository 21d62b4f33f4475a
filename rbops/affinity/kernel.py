"""Kernel settings of a server, from its cores: isolation, huge pages, and the spec's own parameters."""

from __future__ import annotations

from rbops.common.cpulist import list_text
from rbops.hardware.model import Machine
from rbops.plan import Cores, Kernel, KernelModule
from rbops.spec import kernel as asked

__all__ = ["isolated", "kernel"]


def kernel(wanted: asked.Kernel, cores: Cores, machine: Machine) -> Kernel:
    """The settings of a server with these ``cores`` on this ``machine``."""
    return Kernel(
        boot=(*_isolation(wanted, cores, machine), *_hugepages(wanted), *wanted.parameters.items()),
        governor=wanted.governor,
        irqbalance=wanted.irqbalance,
        modules=tuple(KernelModule(name, tuple(given.items())) for name, given in wanted.modules.items()),
        sysctl=tuple(wanted.sysctl.items()),
    )


def isolated(cores: Cores, machine: Machine) -> tuple[int, ...]:
    """The CPUs that carry packets, and their idle siblings: what ran on those would slow packets down."""
    place = {core.id: (core.socket, core.core) for core in machine.cores}
    busy = {place[cpu] for cpu in cores.dataplane}
    kept = {*cores.housekeeping}
    return tuple(sorted(cpu for cpu, where in place.items() if where in busy and cpu not in kept))


def _isolation(wanted: asked.Kernel, cores: Cores, machine: Machine) -> tuple[tuple[str, str], ...]:
    if not wanted.isolate:
        return ()
    apart = isolated(cores, machine)
    # The boot CPU keeps the time: it cannot stop its tick, and some kernels do not boot with it in nohz_full.
    tickless = [cpu for cpu in apart if cpu != 0]
    found = [("isolcpus", f"managed_irq,domain,{list_text(apart)}")]
    if tickless:
        found.append(("nohz_full", list_text(tickless)))
    return (*found, ("rcu_nocbs", list_text(apart)), ("irqaffinity", list_text(cores.housekeeping)))


def _hugepages(wanted: asked.Kernel) -> tuple[tuple[str, str], ...]:
    pages = wanted.hugepages
    return (("hugepagesz", pages.kernel_size), ("hugepages", str(pages.count))) if pages else ()
