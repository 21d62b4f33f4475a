"""Whom the routing daemon of each server speaks to: what the configurations of all daemons are made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from rbops.common.daemons import DAEMONS, Program
from rbops.common.unnumbered import ANY_LINK_LOCAL, LINK_LOCAL
from rbops.node.schema import RoutingDaemon, Session
from rbops.plan import BgpNeighbor, ClusterPlan, Daemon, Port, Port6, Server, Speaker
from rbops.spec.addressing import stand_in
from rbops.spec.words6 import is_link_local

__all__ = ["Speaking", "node_part", "program", "speaking"]

_NEVER6 = ("::/8+", "100::/64+", "fe80::/10+", "ff00::/8+")
"""100::/64 has what stands in for link-local neighbours, as other servers know them."""
_NEVER = ("0.0.0.0/8+", "127.0.0.0/8+", "169.254.0.0/16+", "224.0.0.0/3+")


@dataclass(frozen=True, slots=True)
class Speaking:
    """``server``'s part in what the plan's daemons do (``speaks``); ``me`` are its own identifiers."""

    plan: ClusterPlan
    server: Server
    speaks: Daemon
    me: Speaker

    @property
    def foreign(self) -> list[str]:
        """Filters of IPv4 for what is nobody's to announce to the router: its own networks, and no networks."""
        own = [f"{_network(port)}+" for server in self.plan.servers for port in _external(server)]
        return [*_NEVER, *own]

    @property
    def foreign6(self) -> list[str]:
        """The same of IPv6."""
        return [*_NEVER6, *(f"{IPv6Interface(port.address).network}+" for port in self.plan.ports6)]

    @property
    def ipv6(self) -> str:
        """An IPv6 address for the servers' sessions, which keep next hops as they are; none without IPv6."""
        ports = (*self._external6(), *self.plan.ports6)
        return next((port.address.partition("/")[0] for port in ports), "")

    def announced(self, *, ipv6: bool) -> list[str]:
        """The prefixes of a family that are announced as the router's own."""
        return [prefix for prefix in self.speaks.announce if (":" in prefix) == ipv6]

    def servers(self) -> Iterator[dict[str, Any]]:
        """Those that this one has sessions with: all, or the reflectors; reflectors have sessions with all."""
        index = {server.name: server.index for server in self.plan.servers}
        for other in self.speaks.speakers:
            if other.server == self.me.server:
                continue
            if not self.speaks.has_reflectors or self.me.reflector or other.reflector:
                yield {
                    "name": f"server_{index[other.server]}",
                    "server": other.server,
                    "address": other.address,
                    "address6": self._ipv6_of(other.server),
                    "client": self.me.reflector and not other.reflector,
                }

    def neighbors(self) -> Iterator[dict[str, Any]]:
        """Those of other ASs on its ports; ``any``: known by the port alone."""
        own = {(port.id, False): str(IPv4Interface(port.addresses[0]).ip) for port in _external(self.server)}
        own |= {(port.port, True): port.address.partition("/")[0] for port in self._external6()}
        for near in self.speaks.neighbors:
            if (near.port, _is_ipv6(near)) in own:
                yield {
                    "name": _name(near),
                    "port": near.port,
                    "any": near.address == ANY_LINK_LOCAL,
                    "own": "" if is_link_local(near.address) else own[near.port, _is_ipv6(near)],
                    "stand_in": self._stand_in(near.port, near.address) if is_link_local(near.address) else "",
                    "channels": [_channel(near, family) for family in near.families],
                    "address": near.address,
                    "as_number": near.as_number,
                    "key": _key(near) if near.password is not None else "",
                    "bfd": near.bfd,
                }

    def areas(self, *, ipv6: bool = False) -> list[dict[str, Any]]:
        """The OSPF areas of its ports; ``ipv6``: of those that have IPv6."""
        ports = {port.id: port for port in _external(self.server)}
        six = {port.port for port in self._external6()}
        own = [each for each in self.speaks.ospf if each.port in (six if ipv6 else ports)]
        return [
            {
                "id": area,
                "ports": [
                    {"port": each.port, "network": _network(ports[each.port]), "cost": each.cost}
                    for each in own
                    if each.area == area
                ],
            }
            for area in sorted({each.area for each in own})
        ]

    def ospf_routers(self) -> list[dict[str, Any]]:
        """The link-local routers on its ports that other servers know, and by what."""
        own = {port.port for port in self._external6()}
        return [
            {"port": each.port, "address": address, "stand_in": self._stand_in(each.port, address)}
            for each in self.speaks.ospf
            if each.port in own
            for address in each.routers
        ]

    @property
    def is_mixed(self) -> bool:
        """Whether a session of any server carries IPv4 routes with IPv6 next hops (RFC 8950)."""
        return any(_is_ipv6(near) and "ipv4" in near.families for near in self.speaks.neighbors)

    def node_part(self, daemon: str) -> RoutingDaemon:
        """What rbops-node has to know: the key files' names, and whose packets the daemon gets."""
        speaks = self.speaks
        if speaks.own is not None:
            return RoutingDaemon(daemon, () if speaks.keys is None else (("", speaks.keys),), ())
        near = [each for each in speaks.neighbors if each.port in self.server.external_ports]
        keys = tuple((_key(each), each.password) for each in near if each.password is not None)
        sessions = [Session("tcp/179", _host(each)) for each in near]
        sessions += [Session(word, _host(each)) for each in near if each.bfd for word in ("udp/3784", "udp/3785")]
        sessions += [Session("tcp/179", f"{other['address']}/32") for other in self.servers()]
        if daemon == "frr" and self.is_mixed:
            sessions += [Session("tcp/179", f"{other['address6']}/128") for other in self.servers()]
        ospf = {each.port for each in speaks.ospf}
        sessions += [Session("ip/89", _network(port)) for port in _external(self.server) if port.id in ospf]
        if daemon == "bird" and any(port.port in ospf for port in self._external6()):
            sessions.append(Session("ip/89", LINK_LOCAL))
        return RoutingDaemon(daemon, keys, tuple(sessions))

    def _external6(self) -> list[Port6]:
        return [port for port in self.plan.ports6 if port.port in self.server.external_ports]

    @property
    def own6(self) -> str:
        """An IPv6 address of this server; none where it has none."""
        return self._ipv6_of(self.server.name)

    def _ipv6_of(self, server: str) -> str:
        own = self.plan.server(server).external_ports
        return next((port.address.partition("/")[0] for port in self.plan.ports6 if port.port in own), "")

    def _stand_in(self, number: int, address: str) -> str:
        """By what other servers know a link-local neighbour of port ``number``."""
        (index,) = (
            each.index
            for port in self.plan.ports6
            if port.port == number
            for each in port.adjacencies
            if each.address == address
        )
        return stand_in(number, index)


def speaking(plan: ClusterPlan, server: Server) -> Speaking | None:
    """None on a server without external ports, or where no daemon is planned."""
    if plan.routing is None or plan.routing.speaks is None:
        return None
    speaks = plan.routing.speaks
    me = next((each for each in speaks.speakers if each.server == server.name), None)
    return None if me is None else Speaking(plan, server, speaks, me)


def program(plan: ClusterPlan, server: Server) -> Program | None:
    """The daemon that runs on ``server``."""
    if plan.routing is None or speaking(plan, server) is None:
        return None
    return DAEMONS[plan.routing.daemon]


def node_part(plan: ClusterPlan, server: Server) -> RoutingDaemon | None:
    """What rbops-node has to know of the daemon on ``server``."""
    found, kind = speaking(plan, server), program(plan, server)
    return None if found is None or kind is None else found.node_part(kind.name)


def _channel(near: BgpNeighbor, family: str) -> dict[str, Any]:
    """One family's routes on a session; ``mixed``: their next hops are of the other one (RFC 8950)."""

    def own(filters: tuple[str, ...] | None) -> list[str] | None:
        return None if filters is None else [each for each in filters if (":" in each) == (family == "ipv6")]

    return {
        "family": family,
        "six": "6" if family == "ipv6" else "",
        "mixed": family == "ipv4" and _is_ipv6(near),
        "imports": own(near.imports),
        "exports": own(near.exports),
    }


def _name(near: BgpNeighbor) -> str:
    if near.address == ANY_LINK_LOCAL:
        return f"port{near.port}_link_local"
    return f"port{near.port}_{re.sub('[.:]', '_', near.address)}"


def _key(near: BgpNeighbor) -> str:
    return f"key_{_name(near)}"


def _external(server: Server) -> list[Port]:
    return [port for port in server.ports if port.kind == "external"]


def _network(port: Port) -> str:
    return str(IPv4Interface(port.addresses[0]).network)


def _is_ipv6(near: BgpNeighbor) -> bool:
    """Whether a session is one between IPv6 addresses."""
    return ":" in near.address


def _host(near: BgpNeighbor) -> str:
    if near.address == ANY_LINK_LOCAL:
        return LINK_LOCAL
    return f"{near.address}/{128 if _is_ipv6(near) else 32}"
