"""Servers against ports (paper 3.3, Fig. 3), the switched cluster beside it, and the next generation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from rbops.hardware.model import Machine
from rbops.topology.choice import Demand, Impossible, Limits, choose
from rbops.topology.slots import internal_rates, layout

__all__ = [
    "POWERS",
    "ScalePoint",
    "SwitchedPoint",
    "configuration",
    "curve",
    "mesh_limit",
    "switched",
    "switched_usd",
]

POWERS = tuple(1 << exponent for exponent in range(2, 13))
"""4 to 4,096 ports."""

_SWITCH_PORTS = 48
_SWITCH_PORT_USD = 500
_SERVER_USD = 2000


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """A router of ``ports`` external ports; ``internal_link_bps`` is what a link must carry per direction."""

    ports: int
    topology: Literal["mesh", "fly"]
    degree: int
    stages: int
    port_servers: int
    intermediate_servers: int
    servers: int
    internal_link_bps: int


@dataclass(frozen=True, slots=True)
class SwitchedPoint:
    """The same with servers around 48-port switches; a switch of 500 USD a port equals 12 servers of 2,000 USD."""

    ports: int
    switches: int
    server_equivalents: int


def configuration(machine: Machine, line_rate_bps: int = 10_000_000_000) -> Demand:
    """A demand on ``machine`` whose number of ports ``curve`` fills in; raises ValueError without a given rate."""
    if machine.processing_bps is None:
        raise ValueError(f"{machine.name} has no processing rate of its own: make the demand from a spec")
    return Demand(ports=1, line_rate_bps=line_rate_bps, factor=3, default=Limits(machine, machine.processing_bps))


def curve(demand: Demand, ports: Iterable[int] = POWERS) -> tuple[ScalePoint, ...]:
    """The topology for each number of ports, without those that nothing serves."""
    points = []
    for count in ports:
        try:
            choice = choose(replace(demand, ports=count, pins=(), special=()), nearest=False)
        except Impossible:
            continue
        trial = choice.trial
        points.append(
            ScalePoint(
                ports=count,
                topology=trial.kind,
                degree=trial.fanout_needed,
                stages=choice.stages,
                port_servers=trial.port_servers,
                intermediate_servers=trial.servers - trial.port_servers,
                servers=trial.servers,
                internal_link_bps=trial.required_bps,
            )
        )
    return tuple(points)


def mesh_limit(machine: Machine, line_rate_bps: int) -> int:
    """The most external ports that a full mesh of ``machine`` serves, with single cables."""
    share = machine.external_ports or 1
    best = 0
    for rate in internal_rates(machine):
        fitted = layout(machine, share, line_rate_bps, rate)
        if fitted is not None and 2 * share * line_rate_bps <= rate * (len(fitted.internal) + 1):
            best = max(best, (len(fitted.internal) + 1) * share)
    return best


def switched(ports: Iterable[int] = POWERS) -> tuple[SwitchedPoint, ...]:
    """One server per port, joined by one switch or a strictly non-blocking Clos network of them (paper 3.3)."""
    points = []
    for count in ports:
        switches = _switches(count)
        extra = switches * _SWITCH_PORTS * _SWITCH_PORT_USD // _SERVER_USD
        points.append(SwitchedPoint(count, switches, count + extra))
    return tuple(points)


def switched_usd(point: SwitchedPoint) -> int:
    """What the switched cluster costs, in US dollars."""
    return point.server_equivalents * _SERVER_USD


def _switches(ports: int) -> int:
    """A Clos network of constant degree: n ports and 2n-1 uplinks a leaf (Clos 1953), so 16 and 31 of 48."""
    if ports <= _SWITCH_PORTS:
        return 1
    down = (_SWITCH_PORTS + 1) // 3
    leaves = -(-ports // down)
    return leaves + (2 * down - 1) * _switches(leaves)
