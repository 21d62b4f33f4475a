"""Routing daemons: which servers run one, who speaks to whom."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from rbops.errors import SpecError
from rbops.plan import BgpNeighbor, Daemon, OspfPort, Routing, Server, Speaker
from rbops.spec.document import Spec
from rbops.topology.external import External
from rbops.topology.external6 import ipv6

__all__ = ["REFLECTED", "routing", "separation"]

REFLECTED = 16
"""From more servers than these on, two of them reflect routes: a full mesh of n has n(n-1)/2 sessions."""
_REFLECTORS = 2


def routing(spec: Spec, ports: Sequence[External], servers: Sequence[Server]) -> Routing | None:
    """The section of the plan; None without one in the spec. Raises SpecError for servers that do not exist."""
    wanted = spec.routing
    if wanted is None:
        return None
    if wanted.daemon == "none":
        return Routing(wanted.daemon, wanted.routes)
    speakers = _speakers(spec, ports, servers)
    if wanted.config is not None:
        text = Path(wanted.config).read_text(encoding="utf-8")
        return Routing(wanted.daemon, wanted.routes, Daemon(None, speakers, own=text, keys=wanted.keys))
    owner = {near.address: port.id for port in ports for near in port.adjacencies}
    six = ipv6(spec, ports)
    owner |= {} if six is None else {near.address: port.port for port in six.ports for near in port.adjacencies}
    at = [(owner[each.at] if each.port is None else each.port, each) for each in wanted.neighbors]
    neighbors = tuple(
        BgpNeighbor(port, n.at, n.as_number, n.password, n.import_, n.export, n.bfd, n.carried)
        for port, n in sorted(at, key=lambda each: (each[0], _place(each[1].at)))
    )
    if wanted.daemon == "frr":
        _check_frr(spec, neighbors, servers, frozenset() if six is None else frozenset(port.port for port in six.ports))
    made = Daemon(
        as_number=wanted.as_number,
        speakers=speakers,
        neighbors=neighbors,
        announce=wanted.announce,
        ospf=tuple(OspfPort(each.port, each.area, each.cost, each.routers) for each in wanted.ospf),
        bfd_interval_s=wanted.bfd,
        graceful_restart=wanted.graceful_restart,
        paths=wanted.paths,
    )
    return Routing(wanted.daemon, wanted.routes, made)


def separation(spec: Spec) -> str:
    """How servers keep their management network apart: FRR writes OSPF's routes to a VRF's table alone."""
    wanted = spec.routing
    needs_vrf = wanted is not None and wanted.daemon == "frr" and bool(wanted.ospf)
    return "vrf" if needs_vrf else spec.router.separation


def _check_frr(
    spec: Spec, neighbors: Sequence[BgpNeighbor], servers: Sequence[Server], with_ipv6: frozenset[int]
) -> None:
    """FRR sends IPv4's IPv6 next hops over sessions between IPv6 addresses alone: each server needs one. SpecError."""
    if not any("ipv4" in each.families and ":" in each.address for each in neighbors):
        return
    without = [server for server in servers if server.external_ports and not with_ipv6 & {*server.external_ports}]
    if without:
        number = next(
            at
            for at, each in enumerate(spec.routing.neighbors if spec.routing else ())
            if "ipv4" in each.carried and ":" in each.at
        )
        port = without[0].external_ports[0]
        wrong = spec.source.mistake(
            ("routing", "neighbors", number, "families"),
            f"server {without[0].name} has no IPv6: with FRR, servers tell each other of IPv4 by IPv6 next hops there",
            f"give one of its ports `ipv6: {{address: ...}}`, for example port {port}, or write `daemon: bird`",
            code="plan.no-ipv6",
        )
        raise SpecError([wrong])


def _place(address: str) -> tuple[int, int]:
    found = ip_address(address)
    return found.version, int(found)


def _speakers(spec: Spec, ports: Sequence[External], servers: Sequence[Server]) -> tuple[Speaker, ...]:
    """The servers with external ports, in their order; the first ones reflect."""
    address = {port.id: str(port.address.ip) for port in ports}
    given = dict(spec.routing.router_ids) if spec.routing else {}
    speaking = [server for server in servers if server.external_ports]
    unknown = sorted(given.keys() - {server.name for server in speaking})
    if unknown:
        names = ", ".join(server.name for server in speaking)
        wrong = spec.source.mistake(
            ("routing", "router_ids", unknown[0]),
            "no server with external ports has this name",
            f"they are {names}",
            code="plan.unknown-speaker",
        )
        raise SpecError([wrong])
    found = []
    for number, server in enumerate(speaking):
        own = address[min(server.external_ports)]
        reflects = len(speaking) > REFLECTED and number < _REFLECTORS
        found.append(Speaker(server.name, given.get(server.name, own), own, reflects))
    ids = [speaker.router_id for speaker in found]
    twice = next((speaker for speaker in found if ids.count(speaker.router_id) > 1), None)
    if twice is not None:
        wrong = spec.source.mistake(
            ("routing", "router_ids"),
            f"router id {twice.router_id} is a duplicate: every server has one of its own",
            code="plan.router-id",
        )
        raise SpecError([wrong])
    return tuple(found)
