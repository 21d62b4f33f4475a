"""The section ``routing:``: routes that come and go, written to the router's table by a daemon or by hand."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.common.limits import MAX_EXTERNAL_PORTS
from rbops.common.unnumbered import ANY_LINK_LOCAL
from rbops.spec import routing_words
from rbops.spec.scalars import (
    Address,
    FilePath,
    Flag,
    HostName,
    LinkLocal,
    PeerAddress,
    RoutePrefix,
    Scalar,
    number,
    one_of,
)
from rbops.spec.section import CONFIG, Section, default, key
from rbops.spec.words6 import is_ipv6

__all__ = ["BgpNeighbor", "Daemon", "Family", "OspfPort", "Routing"]

Daemon = Literal["none", "bird", "frr"]
Family = Literal["ipv4", "ipv6"]

_AS = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "examples": [64512, "1.10"]}
_FILTER = {"type": "string", "examples": ["203.0.113.0/24", "10.0.0.0/8+", "10.0.0.0/8{16,24}", "2001:db8::/32+"]}
_INTERVAL = {"type": "string", "pattern": "^[0-9]+", "examples": ["300ms"]}

AsNumber = Annotated[int, Scalar(routing_words.as_number, _AS)]
PrefixFilter = Annotated[str, Scalar(routing_words.prefix_filter, _FILTER)]
Interval = Annotated[float, Scalar(routing_words.interval, _INTERVAL)]
Area = Annotated[str, Scalar(routing_words.area, {"type": "string", "examples": ["0", "0.0.0.1"]})]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class BgpNeighbor(Section):
    """A BGP router of another AS, on the external port whose subnet has its address, or on `port`."""

    address: PeerAddress | None = None
    """Its address; an IPv6 link-local one with `port`; left out: that of whoever is on `port`, also link-local."""
    as_number: Annotated[AsNumber, key("as", examples=[65001])]
    """Its AS, as 65001 or 1.10."""
    password: Annotated[FilePath | None, Field(examples=["peer.password"])] = None
    """A file for its owner alone (mode 0600) with the session's password (TCP MD5, RFC 2385) on one line."""
    import_: Annotated[tuple[PrefixFilter, ...] | None, key("import")] = None
    """The prefixes to accept: exactly, `PREFIX+` longer ones too, `PREFIX{16,24}` of these lengths; left out: all."""
    export: tuple[PrefixFilter, ...] | None = None
    """The prefixes to announce to it; left out: all that other ASs announced, and `announce`."""
    port: Annotated[int | None, number(0, MAX_EXTERNAL_PORTS - 1), Field(examples=[0])] = None
    """The external port that it is on, where its address is link-local (fe80::/10) or left out."""
    families: Annotated[tuple[Annotated[Family, one_of(Family)], ...] | None, Field(examples=[["ipv4", "ipv6"]])] = None
    """Whose routes the session carries; left out: its address's. IPv4 with an IPv6 address is RFC 8950."""
    bfd: Flag = False
    """Whether BFD watches the way to it (RFC 5881); it must do the same."""

    @property
    def at(self) -> str:
        """Its address, or what stands in its place."""
        return self.address or ANY_LINK_LOCAL

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.address or f"the router on port {self.port}"

    @property
    def carried(self) -> tuple[Family, ...]:
        """The families of the session's routes, IPv4 first."""
        if not self.families:
            return ("ipv6",) if is_ipv6(self.at) else ("ipv4",)
        return tuple(sorted(set(self.families)))


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class OspfPort(Section):
    """An external port that speaks OSPF: version 2, with BIRD also version 3 where the port has `ipv6`."""

    port: Annotated[int, number(0, MAX_EXTERNAL_PORTS - 1), Field(examples=[0])]
    """The external port."""
    area: Area = "0.0.0.0"  # noqa: S104 - an area
    """Its area, as 1 or 0.0.0.1."""
    cost: Annotated[int, number(1, 65535)] = 10
    """What sending by it costs."""
    routers: Annotated[tuple[LinkLocal, ...], Field(examples=[["fe80::7"]])] = ()
    """Link-local addresses of routers there: other servers forward IPv6 to these themselves (BIRD)."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Routing(Section):
    """Routes that come and go: the data planes follow the routing table 82 of their servers' kernels."""

    daemon: Annotated[Daemon, Scalar(routing_words.daemon, {"enum": list(routing_words.DAEMONS)})]
    """bird, frr: BIRD 2 or FRR on all servers with external ports; none: who writes to table 82 is your own affair."""
    routes: Annotated[int, number(1, 8_000_000), Field(examples=[1_000_000])] = 1_000_000
    """For how many routes each server has memory: 24 bytes a route, with IPv6 72."""
    as_number: Annotated[AsNumber | None, key("as", examples=[64512])] = None
    """The router's AS, as 64512 or 1.10."""
    router_ids: Mapping[HostName, Address] = Field(default_factory=dict)
    """Router ids by server; left out: the address of the server's first external port."""
    neighbors: tuple[BgpNeighbor, ...] = ()
    """BGP routers of other ASs."""
    announce: tuple[RoutePrefix, ...] = ()
    """Prefixes of either family that the router announces as its own AS's."""
    ospf: tuple[OspfPort, ...] = ()
    """External ports that speak OSPF."""
    bfd: Interval = default(0.3, "300ms")
    """How often BFD sends; three that are missed end a session."""
    graceful_restart: Flag = True
    """Whether neighbours keep the router's routes while a daemon of it restarts (RFC 4724)."""
    paths: Annotated[int, number(1, 64)] = 8
    """Over how many equally good paths flows are spread."""
    config: Annotated[FilePath | None, Field(examples=["my-bird.conf"])] = None
    """The daemon's configuration as a file of one's own, instead of all above but `daemon` and `routes`."""
    keys: Annotated[FilePath | None, Field(examples=["my-bird.keys"])] = None
    """What that file includes as `keys.conf`, for passwords: a file for its owner alone (mode 0600)."""
