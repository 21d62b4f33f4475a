"""What node.json says of the XDP data plane."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.dataplane.xdp.guard import Guard
from rbops.node.fabric import next_hop
from rbops.node.schema.dataplane import Fabric, NextHop, PlannedFile
from rbops.node.schema.fields import Fields

__all__ = ["XdpConfig"]


@dataclass(frozen=True, slots=True)
class XdpConfig:
    """``program`` is the compiled program, ``fib`` the compiled forwarding table, ``guard`` what is refused."""

    fabric: Fabric
    program: PlannedFile
    fib: PlannedFile
    guard: Guard

    @property
    def kind(self) -> str:
        """Its name in the spec."""
        return "xdp"

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
        return cls(Fabric.parse(fields), program, fib, Guard.parse(fields))

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "kind": self.kind,
            "object": self.program.path,
            "fib": self.fib.path,
            "object_sha256": self.program.sha256,
            "fib_sha256": self.fib.sha256,
            **self.fabric.to_json(),
            **self.guard.to_json(),
        }
