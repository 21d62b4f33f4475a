"""The bottleneck model of paper 5.3: each component's bound over its load per packet.

The per-packet load is constant in the packet rate, so the smallest ratio is the server's rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.hardware.costs import REFERENCE_KN, REFERENCE_KP
from rbops.hardware.model import AppCost, Component, Load, Machine
from rbops.plan import PerComponent
from rbops.predict.packets import PacketMix

__all__ = ["ServerRate", "cycles_per_packet", "server_rate"]


@dataclass(frozen=True, slots=True)
class ServerRate:
    """What one server processes of an application: per component in bps, the least, and its name."""

    per_component: PerComponent
    bottleneck: str
    rate_bps: int
    rate_pps: int
    cycles_per_packet: float


def cycles_per_packet(machine: Machine, app: str, packets: PacketMix, poll: int, nic: int) -> float:
    """Mean CPU cycles per packet of ``app`` with batching (``poll``, ``nic``).

    The application's cost holds at (32, 16); book-keeping adds or saves the difference of the
    fit to Table 1.
    """
    cost: AppCost = machine.cost(app)
    extra = machine.batching.cycles(poll, nic) - machine.batching.cycles(REFERENCE_KP, REFERENCE_KN)
    return cost.cycles + cost.cycles_per_byte * (packets.mean_bytes - 64) + extra


def server_rate(
    machine: Machine, app: str, packets: PacketMix, *, poll: int, nic: int, cores: int, nic_bps: int | None
) -> ServerRate:
    """The loss-free rate of one server with ``cores`` data-plane cores and cards that carry ``nic_bps``."""
    cycles = cycles_per_packet(machine, app, packets, poll, nic)
    cpu = packets.bps(cores * machine.clock_hz / cycles)
    if machine.processing_bps is not None:
        cpu = float(machine.processing_bps)
    size = packets.mean_bytes
    bounds = PerComponent(
        cpu=round(cpu),
        memory=_bus(machine.components.memory, machine.loads.memory, size),
        io=_bus(machine.components.io, machine.loads.io, size),
        inter_socket=_bus(machine.components.inter_socket, machine.loads.inter_socket, size)
        if machine.sockets > 1
        else None,
        pcie=_bus(machine.components.pcie, machine.loads.pcie, size),
        nic=nic_bps,
    )
    name, rate = least(bounds)
    return ServerRate(bounds, name, rate, round(packets.pps(rate)), cycles)


def least(bounds: PerComponent) -> tuple[str, int]:
    """The component that allows the least, and how much."""
    rates = {
        "cpu": bounds.cpu,
        "memory": bounds.memory,
        "io": bounds.io,
        "inter_socket": bounds.inter_socket,
        "pcie": bounds.pcie,
        "nic": bounds.nic,
    }
    known = {name: rate for name, rate in rates.items() if rate is not None}
    name = min(known, key=lambda key: known[key])
    return name, known[name]


def _bus(component: Component | None, load: Load, size: float) -> int | None:
    if component is None or component.usable_bps is None:
        return None
    return round(component.usable_bps * size / load.of(size))
