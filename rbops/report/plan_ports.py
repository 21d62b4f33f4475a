"""Where a server's planned ports are: on which card, and at which of its ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rbops.plan import Port, Selector, Server
from rbops.planner import Planning
from rbops.planning.servers import Kind
from rbops.spec.hardware import Device, Hardware
from rbops.topology.slots import CardPort

__all__ = ["Place", "device", "places"]

Position = tuple[int, int]
"""Card, and port of the card, both from 0."""


@dataclass(frozen=True, slots=True)
class Place:
    """A planned port and where it is; None where the spec selects a device that the hardware does not list."""

    port: Port
    card_port: CardPort | None


def places(planning: Planning, kind: Kind, server: Server) -> tuple[Place, ...]:
    """The places of all ports of ``server``, which is of ``kind``.

    Where ``hosts`` selects a device that the hardware lists the port is there, whatever the planner
    had in mind; the other ports have their planned card_ports, or the next free ones.
    """
    every = {
        (card_port.slot, card_port.position): card_port
        for card_port in kind.layout.external + kind.layout.internal + kind.card_ports
    }
    known = dict(_devices(_hardware(planning, server)))
    chosen = {
        port.name: every.get(known[port.selector]) if port.selector in known else None
        for port in server.ports
        if port.selector != Selector()
    }
    taken = {(card_port.slot, card_port.position) for card_port in chosen.values() if card_port is not None}
    free = [card_port for position, card_port in sorted(every.items()) if position not in taken]
    planned = dict(zip((port.name for port in server.ports), kind.card_ports, strict=True))
    later = [port.name for port in server.ports if port.name not in chosen and planned[port.name] not in free]
    for name, card_port in planned.items():
        if name not in chosen and name not in later:
            chosen[name] = card_port
            free.remove(card_port)
    for name in later:
        alike = [card_port for card_port in free if card_port.card.port_rate_bps == planned[name].card.port_rate_bps]
        chosen[name] = alike[0] if alike else None
        if alike:
            free.remove(alike[0])
    return tuple(Place(port, chosen[port.name]) for port in server.ports)


def device(port: Port) -> str | None:
    """What the spec calls the port's device; None when it says nothing."""
    pick = port.selector
    return pick.name or pick.pci or pick.mac


def _hardware(planning: Planning, server: Server) -> Hardware | None:
    own = planning.spec.hosts.get(server.name)
    if own is not None and (own.hardware is not None or own.profile is not None):
        return own.hardware
    return planning.spec.servers.hardware


def _devices(hardware: Hardware | None) -> Iterator[tuple[Selector, Position]]:
    """Each way to select a device of the hardware, and where the device is; management ports are left out."""
    cards = [nic.devices for nic in (hardware.nics if hardware else ()) if nic.ports > _managed(nic.devices)]
    for slot, devices in enumerate(cards):
        position = 0
        for one in devices:
            if not one.management:
                yield from ((selector, (slot, position)) for selector in _selectors(one))
                position += 1


def _managed(devices: tuple[Device, ...]) -> int:
    return sum(one.management for one in devices)


def _selectors(one: Device) -> Iterator[Selector]:
    given: Mapping[str, str | None] = {"name": one.name, "pci": one.pci, "mac": one.mac}
    yield from (Selector(**{kind: value}) for kind, value in given.items() if value is not None)
