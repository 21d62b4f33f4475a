"""The part of node.json that every data plane has; its own values are in its folder (``config.py``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from rbops.node.schema.fields import Fields, only_one_end
from rbops.node.schema.nic import MAC
from rbops.node.schema.port import KINDS, NAME

__all__ = ["Adjacency", "Dataplane", "Fabric", "FabricPort", "NextHop", "PlannedFile"]

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file on the server, and what its bytes are."""

    path: str
    sha256: str

    @classmethod
    def parse(cls, fields: Fields, key: str) -> PlannedFile:
        """Of the keys ``KEY`` and ``KEY_sha256``."""
        return cls(fields[key].text(), fields[f"{key}_sha256"].text())


@dataclass(frozen=True, slots=True)
class FabricPort:
    """A port as the data plane numbers it: by its place in the list. ``peer_server`` of internal ports is an index."""

    name: str
    kind: str
    rate_bps: int
    id: int | None = None
    peer_server: int | None = None

    @classmethod
    def parse(cls, port: Fields) -> FabricPort:
        """FieldError for what is wrong."""
        number, peer = port.find("id"), port.find("peer_server")
        only_one_end(port["kind"].choice(*KINDS), number, peer)
        return cls(
            port["name"].text(NAME),
            port["kind"].choice(*KINDS),
            port["rate_bps"].number(),
            None if number is None else number.number(),
            None if peer is None else peer.number(),
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        far = {"id": self.id} if self.kind == "external" else {"peer_server": self.peer_server}
        return {"name": self.name, "kind": self.kind, **far, "rate_bps": self.rate_bps}


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A neighbour of an own port whose MAC is planned; ``port`` is the external port's number in the router."""

    port: int
    index: int
    mac: str

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"port": self.port, "index": self.index, "mac": self.mac}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """The part that every data plane gets of this server and its cluster; servers are numbered by their index.

    ``owners``: external port -> server. ``next_hop``: server that owns ports -> own port on a shortest path to it.
    ``intermediates`` are VLB's, in the order of its rotation. ``direct_quota_bps`` and ``flowlet_timeout_s`` are
    the cluster's (see :class:`rbops.plan.Forwarding`). ``relays``: servers are more than one cable apart, as in a fly.
    """

    server: int
    servers: int
    cores: tuple[int, ...]
    routing: str
    flowlet_timeout_s: float
    direct_quota_bps: int
    probe_interval_s: float
    probe_multiplier: int
    ports: tuple[FabricPort, ...]
    owners: tuple[int, ...]
    next_hop: Mapping[int, str]
    intermediates: tuple[int, ...]
    adjacencies: tuple[Adjacency, ...]
    relays: bool = False

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "server": self.server,
            "servers": self.servers,
            "cores": list(self.cores),
            "routing": self.routing,
            "flowlet_timeout_s": self.flowlet_timeout_s,
            "direct_quota_bps": self.direct_quota_bps,
            "probe_interval_s": self.probe_interval_s,
            "probe_multiplier": self.probe_multiplier,
            "ports": [port.to_json() for port in self.ports],
            "owners": list(self.owners),
            "next_hop": {str(server): port for server, port in self.next_hop.items()},
            "intermediates": list(self.intermediates),
            "adjacencies": [adjacency.to_json() for adjacency in self.adjacencies],
            **({"relays": True} if self.relays else {}),
        }

    def bundle(self, name: str) -> tuple[str, ...]:
        """The cables to the same neighbour as internal port ``name``, by the names of their ports here."""
        peers = {port.name: port.peer_server for port in self.ports if port.kind == "internal"}
        peer = peers.get(name)
        return (name,) if peer is None else tuple(other for other, far in peers.items() if far == peer)

    @classmethod
    def parse(cls, fields: Fields) -> Fabric:
        """FieldError for what is wrong."""
        near = (entry.fields() for entry in fields["adjacencies"].items())
        return cls(
            server=fields["server"].number(),
            servers=fields["servers"].number(),
            cores=fields["cores"].numbers(),
            routing=fields["routing"].choice("direct-vlb", "vlb"),
            flowlet_timeout_s=fields["flowlet_timeout_s"].decimal(),
            direct_quota_bps=fields["direct_quota_bps"].number(),
            probe_interval_s=fields["probe_interval_s"].decimal(),
            probe_multiplier=fields["probe_multiplier"].number(),
            ports=tuple(FabricPort.parse(port.fields()) for port in fields["ports"].items()),
            owners=fields["owners"].numbers(),
            next_hop={int(to): port.text(NAME) for to, port in fields["next_hop"].fields().keys(_NUMBER)},
            intermediates=fields["intermediates"].numbers(),
            adjacencies=tuple(Adjacency(n["port"].number(), n["index"].number(), n["mac"].text(MAC)) for n in near),
            relays=fields.flag("relays", default=False),
        )


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where the kernel sends what leaves by another server's port; ``mac`` None: found by ARP."""

    address: IPv4Address | IPv6Address
    mac: str | None


class Dataplane(Protocol):
    """What node.json says of one data plane: the fabric, and values of its own."""

    @property
    def kind(self) -> str:
        """The name that ``dataplane:`` has in the spec."""

    @property
    def fabric(self) -> Fabric:
        """The part that every data plane gets."""

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """The rendered files that it works from."""

    def next_hop(self, port: int, adjacency: int) -> NextHop:
        """How this server's kernel reaches ``adjacency`` of another server's ``port``."""

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
