"""A next hop as it stands in the data plane's memory, and in words."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rbops.common.hops import Answer, Far, Hop, Near
from rbops.dataplane.xdp import layout as shape
from rbops.node.schema.dataplane import Fabric

__all__ = ["Entry", "Numbers", "answer_text"]

Entry = tuple[int, int, int, int]
"""A next hop as it stands in memory: MAC, kind, owner, device."""

_AT = {0: "its kernel", shape.TUNNEL_ADJACENCY: "its kernel encrypts"}
_KINDS = {"kernel": shape.PUNT, "blackhole": shape.BLACKHOLE, "unreachable": shape.UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What of a server's configuration a next hop is made of; ``devices``: own external port -> number of its device.

    ``planned``: (port, address) of a neighbour -> where its MAC stands among the adjacencies, for other servers.
    """

    fabric: Fabric
    devices: Mapping[int, int]
    planned: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, fabric: Fabric, neighbors: Iterable[tuple[int, int, int]]) -> Numbers:
        """``neighbors`` of own ports: (port, index, address)."""
        devices = {port.id: at for at, port in enumerate(fabric.ports) if port.id is not None}
        first, planned, known = 0, {}, list(neighbors)
        counts: dict[int, int] = {}
        for entry in fabric.adjacencies:
            counts[entry.port] = max(counts.get(entry.port, 0), entry.index)
        for port in sorted(devices):
            planned.update({(p, address): first + index - 1 for p, index, address in known if p == port})
            first += counts.get(port, 0)
        return cls(fabric, devices, planned)

    def entry(self, hop: Hop, macs: Mapping[tuple[int, int], int]) -> Entry:
        """A hop that is no :class:`Spread`; ``macs``: (port, address) of a neighbour -> MAC."""
        match hop:
            case Near(port, address):
                return macs.get((port, address), 0), shape.LOCAL, self.fabric.server, self.devices[port]
            case Far(port, adjacency):
                mac = shape.mac_number(struct.pack(">HHH", 0x0252, port, adjacency))
                return mac, shape.REMOTE if adjacency else shape.PUNT_REMOTE, self.fabric.owners[port], 0
            case Answer(kind, port):
                at = 0 if port is None else self.devices[port]
                return 0, _KINDS[kind], self.fabric.server if kind == "kernel" else 0, at
        raise TypeError(hop)


def answer_text(entry: Entry, ports: Mapping[int, str]) -> str:
    """A next hop in words."""
    mac, kind, server, device = entry
    octets = mac.to_bytes(6, "little")
    text = ":".join(f"{octet:02x}" for octet in octets)
    if kind == shape.LOCAL:
        return (
            f"port {ports.get(device, device)} to {text}"
            if mac
            else f"port {ports.get(device, device)}, MAC unknown: the kernel"
        )
    if kind in (shape.REMOTE, shape.PUNT_REMOTE):
        port, adjacency = struct.unpack(">HH", octets[2:])
        return f"server {server}, port {port}, " + (_AT.get(adjacency, f"adjacency {adjacency}"))
    names = {shape.NO_ROUTE: "no route: the kernel", shape.PUNT: "this server's kernel"}
    names |= {shape.BLACKHOLE: "dropped (blackhole)", shape.UNREACHABLE: "the kernel answers: unreachable"}
    names[shape.TUNNEL] = "a tunnel: this server's kernel encrypts"
    return names.get(kind, f"kind {kind}")
