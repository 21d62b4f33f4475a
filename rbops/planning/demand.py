"""Stage 2: what the router must do, and what a server of each kind can."""

from __future__ import annotations

from rbops.affinity.cores import CorePolicy, assign
from rbops.dataplane import registry
from rbops.errors import Diagnostic, SpecError
from rbops.hardware.model import Machine
from rbops.planning.machines import Machines
from rbops.predict.bottleneck import server_rate
from rbops.predict.packets import PacketMix
from rbops.spec.document import Spec
from rbops.topology.choice import Demand, Limits
from rbops.topology.names import server_index

__all__ = ["Pins", "demand", "pins"]

Pins = tuple[tuple[int, int], ...]
"""(external port, server index), by port."""


def pins(spec: Spec) -> Pins:
    """Which ports are fixed to which servers; raises SpecError with all that name no server of a plan."""
    found: list[tuple[int, int]] = []
    wrong: list[Diagnostic] = []
    for position, port in enumerate(spec.ports):
        if port.server is None:
            continue
        index = server_index(port.server)
        if index is None:
            where = ("ports", position, "server")
            message = f"{port.server!r} is not the name of a planned server"
            wrong.append(spec.source.mistake(where, message, "servers are n0, n1, ...", code="plan.port-server"))
        else:
            found.append((port.id, index))
    if wrong:
        raise SpecError(wrong)
    return tuple(sorted(found))


def demand(spec: Spec, machines: Machines, packets: PacketMix, pinned: Pins) -> Demand:
    """What ``spec`` asks for, with the rate of ``packets`` that each kind of server processes. Raises SpecError."""
    known: dict[int, Limits] = {}

    def limits(machine: Machine) -> Limits:
        if id(machine) not in known:
            known[id(machine)] = Limits(machine, _available(spec, machine, packets))
        return known[id(machine)]

    return Demand(
        ports=spec.router.external_ports,
        line_rate_bps=spec.router.line_rate_bps,
        factor=2 if spec.router.traffic == "uniform" else 3,
        default=limits(machines.default),
        special=tuple((index, limits(machine)) for index, machine in sorted(machines.special.items())),
        pins=pinned,
        kind=spec.interconnect.topology,
    )


def _available(spec: Spec, machine: Machine, packets: PacketMix) -> int:
    """What a server with all its slots filled processes of ``packets``, in bps."""
    cards = tuple(card for slot in machine.slots for card in slot.options)
    if not cards or not machine.cores:
        missing = "NIC" if machine.cores else "online CPU"
        message = f"{machine.name} servers have no usable {missing}"
        raise SpecError([spec.source.mistake(("servers",), message, code="plan.no-hardware")])
    try:
        policy = CorePolicy(xdp=registry.controller(spec.dataplane).rings_by_cpu, allow=spec.router.allow)
        assigned = assign(machine, cards, policy, server=machine.name)
    except ValueError as error:
        hint = "keep fewer housekeeping CPUs"
        wrong = spec.source.mistake(("servers",), str(error), hint, code="plan.no-packet-cpu")
        raise SpecError([wrong]) from error
    rate = server_rate(
        machine,
        spec.router.application,
        packets,
        poll=spec.batching.rx_burst,
        nic=spec.batching.tx_burst,
        cores=len(assigned.cores.dataplane),
        nic_bps=sum(max(card.rate_bps for card in slot.options) for slot in machine.slots),
    )
    return rate.rate_bps
