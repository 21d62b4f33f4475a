"""Receive queue by output port: the only lookup of later servers (paper 6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbops.common.fabric import fabric_mac
from rbops.plan import PUNT, Port, Steering

__all__ = ["STEERED_PORTS", "steering"]

STEERED_PORTS = 64
"""A queue per external port on each internal port: more external ports are not steered."""


def steering(ports: Iterable[Port], adjacencies: Iterable[tuple[int, int]], external_ports: int) -> Iterator[Steering]:
    """Rules for the internal ones of ``ports``, whose NICs steer by destination MAC.

    ``adjacencies`` are (external port, adjacency) of the whole router; frames for a port's kernel
    (adjacency 0) go the same way. Output port P has queue P modulo the queues there are.
    """
    if external_ports > STEERED_PORTS:
        return
    targets = sorted({*adjacencies, *((port, PUNT) for port in range(external_ports))})
    macs = [(port, fabric_mac(port, adjacency)) for port, adjacency in targets]
    for port in ports:
        if port.kind == "internal":
            for target, mac in macs:
                yield Steering(port.name, mac, target % len(port.queues))
