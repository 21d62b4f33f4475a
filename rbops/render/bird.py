"""BIRD's configuration, for each server with external ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from rbops.node.schema import RoutingDaemon, Session
from rbops.plan import BgpNeighbor, ClusterPlan, Daemon, Port, Port6, Server, Speaker
from rbops.render.files import File
from rbops.render.templates import template
from rbops.spec.addressing import stand_in
from rbops.spec.words6 import is_link_local

__all__ = ["CONFIG", "KEYS", "PLACES", "UNIT", "bird_files", "has_bird", "node_part"]

CONFIG, _OWN = "/etc/rbops/bird/bird.conf", "/etc/rbops/bird/own.conf"
UNIT = "rbops-bird.service"
KEYS = "/etc/rbops/bird/keys.conf"
"""Passwords: in no rendered file."""
PLACES = ("/etc/rbops/bird", f"/etc/systemd/system/{UNIT}")
"""Where its files are on servers: planned, or they go."""
_NEVER6 = ("::/8+", "100::/64+", "fe80::/10+", "ff00::/8+")
"""100::/64 has what stands in for link-local neighbours, as other servers know them."""
_NEVER = ("0.0.0.0/8+", "127.0.0.0/8+", "169.254.0.0/16+", "224.0.0.0/3+")


def bird_files(plan: ClusterPlan, server: Server, digest: str) -> tuple[File, ...]:
    """Configuration and unit; nothing on a server without external ports, or where another daemon is planned."""
    speaker = _speaker(plan, server)
    if speaker is None or plan.routing is None or plan.routing.speaks is None:
        return ()
    speaks = plan.routing.speaks
    common = {"cluster": plan.name, "server": server.name, "digest": digest}
    ids = {"router_id": speaker.router_id, "address": speaker.address}
    unit = File(f"/etc/systemd/system/{UNIT}", template(f"systemd/{UNIT}", cluster=plan.name, digest=digest))
    if speaks.own is not None:
        head = template("bird/own.conf", index=server.index, **common, **ids)
        return File(CONFIG, head), File(_OWN, speaks.own.encode()), unit
    neighbors = list(_neighbors(plan, speaks, server))
    by_family = [[prefix for prefix in speaks.announce if (":" in prefix) == six] for six in (False, True)]
    text = template(
        "bird/bird.conf",
        **common,
        **ids,
        as_number=speaks.as_number,
        restarts=speaks.graceful_restart,
        paths=speaks.paths,
        announce=by_family[0],
        announce6=by_family[1],
        ipv6=_next_hop6(plan, server),
        forbidden=[*_NEVER, *_networks(plan)],
        forbidden6=[*_NEVER6, *_networks6(plan)],
        bfd=any(near["bfd"] for near in neighbors),
        bfd_ms=max(1, round(speaks.bfd_interval_s * 1000)),
        mixed=any(_is_mixed(near) for near in speaks.neighbors),
        servers=list(_others(plan, speaks, speaker)),
        neighbors=neighbors,
        ospf=_areas(speaks, server),
    )
    return File(CONFIG, text), unit


def node_part(plan: ClusterPlan, server: Server) -> RoutingDaemon | None:
    """What rbops-node has to know: the key files' names, and whose packets the daemon gets."""
    speaker = _speaker(plan, server)
    if speaker is None or plan.routing is None or plan.routing.speaks is None:
        return None
    speaks = plan.routing.speaks
    if speaks.own is not None:
        return RoutingDaemon(plan.routing.daemon, () if speaks.keys is None else (("", speaks.keys),), ())
    near = [each for each in speaks.neighbors if each.port in server.external_ports]
    keys = tuple((_key(each), each.password) for each in near if each.password is not None)
    sessions = [Session("tcp/179", _host(each)) for each in near]
    sessions += [Session(word, _host(each)) for each in near if each.bfd for word in ("udp/3784", "udp/3785")]
    sessions += [Session("tcp/179", f"{other['address']}/32") for other in _others(plan, speaks, speaker)]
    ospf = {each.port for each in speaks.ospf}
    sessions += [Session("ip/89", _network(port)) for port in _external(server) if port.id in ospf]
    return RoutingDaemon(plan.routing.daemon, keys, tuple(sessions))


def has_bird(plan: ClusterPlan, server: Server) -> bool:
    """Whether BIRD runs on ``server``."""
    return _speaker(plan, server) is not None


def _speaker(plan: ClusterPlan, server: Server) -> Speaker | None:
    if plan.routing is None or plan.routing.speaks is None or plan.routing.daemon != "bird":
        return None
    return next((each for each in plan.routing.speaks.speakers if each.server == server.name), None)


def _others(plan: ClusterPlan, speaks: Daemon, me: Speaker) -> Iterator[dict[str, Any]]:
    """The servers that this one has sessions with: all, or the reflectors; reflectors have sessions with all."""
    index = {server.name: server.index for server in plan.servers}
    for other in speaks.speakers:
        if other.server != me.server and (not speaks.has_reflectors or me.reflector or other.reflector):
            client = me.reflector and not other.reflector
            yield {
                "name": f"server_{index[other.server]}",
                "server": other.server,
                "address": other.address,
                "client": client,
            }


def _neighbors(plan: ClusterPlan, speaks: Daemon, server: Server) -> Iterator[dict[str, Any]]:
    own = {(port.id, False): str(IPv4Interface(port.addresses[0]).ip) for port in _external(server)}
    own |= {(port.port, True): port.address.partition("/")[0] for port in _external6(plan, server)}
    for near in speaks.neighbors:
        if (near.port, _is_ipv6(near)) in own:
            yield {
                "name": _name(near),
                "port": near.port,
                "own": "" if is_link_local(near.address) else own[near.port, _is_ipv6(near)],
                "stand_in": _stand_in(plan, near) if is_link_local(near.address) else "",
                "channels": [_channel(near, family) for family in near.families],
                "address": near.address,
                "as_number": near.as_number,
                "key": _key(near) if near.password is not None else "",
                "bfd": near.bfd,
            }


def _stand_in(plan: ClusterPlan, near: BgpNeighbor) -> str:
    """By what other servers know a link-local neighbour."""
    (index,) = (
        each.index
        for port in plan.ports6
        if port.port == near.port
        for each in port.adjacencies
        if each.address == near.address
    )
    return stand_in(near.port, index)


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


def _areas(speaks: Daemon, server: Server) -> list[dict[str, Any]]:
    ports = {port.id: port for port in _external(server)}
    own = [each for each in speaks.ospf if each.port in ports]
    return [
        {
            "id": area,
            "ports": [{"network": _network(ports[each.port]), "cost": each.cost} for each in own if each.area == area],
        }
        for area in sorted({each.area for each in own})
    ]


def _name(near: BgpNeighbor) -> str:
    return f"port{near.port}_{re.sub('[.:]', '_', near.address)}"


def _key(near: BgpNeighbor) -> str:
    return f"key_{_name(near)}"


def _external6(plan: ClusterPlan, server: Server) -> list[Port6]:
    return [port for port in plan.ports6 if port.port in server.external_ports]


def _external(server: Server) -> list[Port]:
    return [port for port in server.ports if port.kind == "external"]


def _network(port: Port) -> str:
    return str(IPv4Interface(port.addresses[0]).network)


def _is_ipv6(near: BgpNeighbor) -> bool:
    """Whether a session is one between IPv6 addresses."""
    return ":" in near.address


def _is_mixed(near: BgpNeighbor) -> bool:
    """Whether a session carries IPv4 routes with IPv6 next hops (RFC 8950)."""
    return _is_ipv6(near) and "ipv4" in near.families


def _host(near: BgpNeighbor) -> str:
    return f"{near.address}/{128 if _is_ipv6(near) else 32}"


def _next_hop6(plan: ClusterPlan, server: Server) -> str:
    """An IPv6 address for the servers' sessions, which keep next hops as they are; none without IPv6."""
    ports = (*_external6(plan, server), *plan.ports6)
    return next((port.address.partition("/")[0] for port in ports), "")


def _networks6(plan: ClusterPlan) -> list[str]:
    return [f"{IPv6Interface(port.address).network}+" for port in plan.ports6]


def _networks(plan: ClusterPlan) -> list[str]:
    """Those of the router's external ports, and all in them."""
    return [f"{_network(port)}+" for server in plan.servers for port in _external(server)]
