"""The server that the paper expected to follow its own (5.3)."""

from __future__ import annotations

from dataclasses import replace

from rbops.hardware.model import Component, Core, Machine

__all__ = ["next_generation"]


def next_generation(machine: Machine) -> Machine:
    """The follow-up the paper expects (5.3): twice the sockets and the cores in each, twice the memory and I/O."""
    most = max(core.core for core in machine.cores) + 1
    sockets = machine.sockets
    cores = tuple(
        Core(socket * 2 * most + core, socket, core, socket)
        for socket in range(2 * sockets)
        for core in range(2 * most)
    )
    parts = machine.components
    return replace(
        machine,
        name=f"{machine.name}_next",
        source=f"RouteBricks 5.3: 4 x the CPU, 2 x the memory and I/O of {machine.name}",
        cores=cores,
        slots=machine.slots * 2,
        possible_cpus=len(cores),
        calibrated=False,
        power_w=None,
        price_usd=None,
        components=replace(
            parts,
            memory=_twice(parts.memory),
            io=_twice(parts.io),
            inter_socket=_twice(parts.inter_socket),
            pcie=_twice(parts.pcie),
        ),
    )


def _twice(part: Component | None) -> Component | None:
    if part is None:
        return None
    nominal, empirical, usable = (
        None if rate is None else 2 * rate for rate in (part.nominal_bps, part.empirical_bps, part.usable_bps)
    )
    return Component(nominal, empirical, usable, part.reason)
