"""What node.json says of the kernel as data plane."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from rbops.node.schema.dataplane import Fabric, NextHop, PlannedFile
from rbops.node.schema.fields import Fields

__all__ = ["KernelPlaneConfig"]

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class KernelPlaneConfig:
    """``gateways``: server that owns ports -> the address of the next server on the path to it, found by ARP."""

    fabric: Fabric
    gateways: Mapping[int, str]

    @property
    def kind(self) -> str:
        """Its name in the spec."""
        return "kernel"

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """None: it works from the kernel's routes."""
        return ()

    def next_hop(self, port: int, _: int) -> NextHop:
        """The same for all neighbours of a port: the next server looks up once more."""
        return NextHop(IPv4Address(self.gateways[self.fabric.owners[port]]), None)

    @classmethod
    def parse(cls, fields: Fields) -> KernelPlaneConfig:
        """FieldError for what is wrong."""
        gateways = fields["gateways"].fields().keys(_NUMBER)
        return cls(Fabric.parse(fields), {int(server): address.address() for server, address in gateways})

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        gateways = {str(server): address for server, address in self.gateways.items()}
        return {"kind": self.kind, **self.fabric.to_json(), "gateways": gateways}
