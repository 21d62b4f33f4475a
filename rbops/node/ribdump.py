"""The router's table as the kernel has it now, read once: for the audit, a trace and a data plane that is filled."""

from __future__ import annotations

from rbops.node.devices import TABLE
from rbops.node.rib import Rib
from rbops.node.rtnetlink import Reader
from rbops.node.rtsocket import dump
from rbops.node.ways import Ports

__all__ = ["read_rib"]


def read_rib(ports: Ports) -> Rib:
    """The kernel's table as it is now."""
    rib, reader = Rib(ports), Reader(TABLE)
    for data in dump(TABLE):
        for message in reader.read(data):
            rib.take(message, dumped=True)
    rib.lost_links.clear()
    rib.settle()
    return rib
