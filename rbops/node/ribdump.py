"""The router's table as the kernel has it now, read once: for the audit, a trace and a data plane that is filled."""

from __future__ import annotations

from rbops.node.devices import TABLE
from rbops.node.rib import Rib
from rbops.node.rtnetlink import Reader
from rbops.node.rtsocket import dump
from rbops.node.ways import Ports

__all__ = ["FAMILIES", "families", "listed_ribs", "read_ribs"]

FAMILIES = (4, 6)


def families(ports: Ports) -> tuple[int, ...]:
    """Those that the router forwards."""
    return FAMILIES if ports.ipv6 else FAMILIES[:1]


def read_ribs(ports: Ports) -> tuple[Rib, ...]:
    """The kernel's table as it is now, of each family that the router forwards, IPv4 first."""
    ribs = listed_ribs(ports, Reader(TABLE, ipv6=ports.ipv6))
    for rib in ribs:
        rib.settle()
    return ribs


def listed_ribs(ports: Ports, reader: Reader) -> tuple[Rib, ...]:
    """The same, with everything in ``changed`` that the kernel lists: where prefixes lead is not derived yet."""
    ribs = tuple(Rib(ports, family) for family in families(ports))
    for data in dump(TABLE, ipv6=ports.ipv6):
        for message in reader.read_many(data):
            for rib in ribs:
                rib.take(message, dumped=True)
    for rib in ribs:
        rib.lost_links.clear()
    return ribs
