"""What node.json says of the XDP data plane."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from rbops.dataplane.xdp.guard import Guard
from rbops.node.fabric import next_hop
from rbops.node.schema.dataplane import Fabric, NextHop, PlannedFile
from rbops.node.schema.fields import Fields
from rbops.node.ways import address_text

__all__ = ["Follow", "XdpConfig"]


@dataclass(frozen=True, slots=True)
class Follow:
    """That the forwarding table follows the kernel's: room for so many routes, and the neighbours that are planned.

    ``neighbors`` of this server's ports: (port, index, address as a number).
    """

    routes: int
    neighbors: tuple[tuple[int, int, int], ...]

    @classmethod
    def parse(cls, fields: Fields) -> Follow:
        """FieldError for what is wrong."""
        near = [entry.fields() for entry in fields["neighbors"].items()]
        known = (
            (n["port"].number(), n["index"].number(), int(ip_interface(n["address"].any_interface()).ip)) for n in near
        )
        return cls(fields["routes"].number(), tuple(known))

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        near = [{"port": p, "index": i, "address": str(ip_network(address_text(a)))} for p, i, a in self.neighbors]
        return {"routes": self.routes, "neighbors": near}


@dataclass(frozen=True, slots=True)
class XdpConfig:
    """``program`` is the compiled program, ``fib`` the compiled forwarding table, ``guard`` what is refused.

    ``follow`` None: static routes alone.
    """

    fabric: Fabric
    program: PlannedFile
    fib: PlannedFile
    guard: Guard
    follow: Follow | None = None

    @property
    def kind(self) -> str:
        """Its name in the spec."""
        return "xdp"

    @property
    def ipv6(self) -> bool:
        """Whether the router forwards IPv6."""
        return any(":" in address for address in self.guard.addresses)

    @property
    def room(self) -> int:
        """For how many IPv4 routes there is to be memory; an IPv6 route takes as much as two, its root as 32,768."""
        if self.follow is None:
            return 0
        return 3 * self.follow.routes + 32768 if self.ipv6 else self.follow.routes

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """The rendered files that it works from."""
        return self.program, self.fib

    def next_hop(self, port: int, adjacency: int) -> NextHop:
        """Frames enter the fabric with the MAC of their output port."""
        return next_hop(port, adjacency)

    @classmethod
    def parse(cls, fields: Fields) -> XdpConfig:
        """FieldError for what is wrong."""
        program, fib = PlannedFile.parse(fields, "object"), PlannedFile.parse(fields, "fib")
        follow = fields.find("follow")
        followed = None if follow is None else Follow.parse(follow.fields())
        return cls(Fabric.parse(fields), program, fib, Guard.parse(fields), followed)

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "kind": self.kind,
            "object": self.program.path,
            "fib": self.fib.path,
            "object_sha256": self.program.sha256,
            "fib_sha256": self.fib.sha256,
            **({} if self.follow is None else {"follow": self.follow.to_json()}),
            **self.fabric.to_json(),
            **self.guard.to_json(),
        }
