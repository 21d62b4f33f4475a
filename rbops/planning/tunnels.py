"""Tunnels against the plan: the peer is another gateway, a route leads there, and each has its end on a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import numpy as np

from rbops.dataplane import registry
from rbops.errors import Diagnostic, SpecError
from rbops.plan import ClusterPlan, Route, Tunnel
from rbops.spec.document import Spec
from rbops.spec.routes import RouteFile

__all__ = ["with_ends"]

_SHOWN = 3
_POINT_TO_POINT = 31
"""Networks of this length have no broadcast address (RFC 3021)."""


def with_ends(spec: Spec, plan: ClusterPlan) -> ClusterPlan:
    """The plan, each of the kernel's tunnels with the router's address that its peer knows.

    Raises SpecError for tunnels to the router itself, whose packets are its kernels', and for peers without a route.

    Where a routing daemon fills the table, whether a route leads to a peer is known later.
    """
    wrong = [*_own(spec, plan), *(_unreachable(spec, plan) if plan.routing is None else ())]
    if wrong:
        raise SpecError(wrong)
    if not spec.ipsec or not registry.controller(spec.dataplane).kernel_ipsec:
        return plan
    routes = (*plan.routes.connected, *plan.routes.static)
    tunnels = tuple(replace(tunnel, local=tunnel.local or _local(plan, routes, tunnel)) for tunnel in spec.ipsec)
    wrong = [
        *_ends(spec, plan, tunnels),
        *_in_the_clear(spec, plan, tunnels),
        *(_behind(spec, routes, tunnels) if plan.routing is None else ()),
    ]
    if wrong:
        raise SpecError(wrong)
    warnings = (*plan.warnings, *_longer(routes, tunnels), *_twice(routes, tunnels))
    return replace(plan, forwarding=replace(plan.forwarding, tunnels=tunnels), warnings=warnings)


def _local(plan: ClusterPlan, routes: Sequence[Route], tunnel: Tunnel) -> str | None:
    """The address of the port that the peer is behind; None where a route file alone knows."""
    route = _longest(routes, IPv4Address(tunnel.peer))
    ports = (port for server in plan.servers for port in server.ports if route and port.id == route.port)
    return next((address.partition("/")[0] for port in ports for address in port.addresses), None)


def _longest(routes: Sequence[Route], address: IPv4Address) -> Route | None:
    leading = [route for route in routes if address in IPv4Network(route.prefix)]
    return max(leading, key=lambda route: IPv4Network(route.prefix).prefixlen, default=None)


def _ends(spec: Spec, plan: ClusterPlan, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    own = {address for server in plan.servers for address in server.own_addresses}
    for number, tunnel in enumerate(tunnels):
        if tunnel.local is None:
            yield spec.source.mistake(
                ("ipsec", number, "peer"),
                f"{tunnel.peer} is behind a route of the file: which address of the router it knows is not said",
                "write `local:`, an address of one of the router's ports",
                code="plan.tunnel-local",
            )
        elif tunnel.local not in own:
            yield spec.source.mistake(
                ("ipsec", number, "local"),
                f"{tunnel.local} is not an address of the router",
                f"expected one of its ports', such as {min(own, default='one under `ports:`')}",
                code="plan.tunnel-local",
            )


def _in_the_clear(spec: Spec, plan: ClusterPlan, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """Prefixes that are routes too, and peers that only a tunnel leads to: what it encrypts would go into it again."""
    routes = (*plan.routes.connected, *plan.routes.static)
    known = {IPv4Network(route.prefix) for route in routes}
    near = [IPv4Network(route.prefix) for route in plan.routes.connected]
    prefixes = [IPv4Network(prefix) for tunnel in tunnels for prefix in tunnel.prefixes]
    for number, tunnel in enumerate(tunnels):
        for index, prefix in enumerate(map(IPv4Network, tunnel.prefixes)):
            if prefix in known or any(prefix.subnet_of(network) for network in near):
                yield spec.source.mistake(
                    ("ipsec", number, "prefixes", index),
                    f"{prefix} is also a route, or within the network of a port: encrypted or not is not said",
                    "remove one of the two, or name what is behind the peer",
                    code="plan.tunnel-prefix",
                )
        peer = IPv4Address(tunnel.peer)
        route = _longest(routes, peer)
        inside = max((prefix.prefixlen for prefix in prefixes if peer in prefix), default=-1)
        if inside >= (IPv4Network(route.prefix).prefixlen if route else 0):
            yield spec.source.mistake(
                ("ipsec", number, "peer"),
                f"{peer} is behind a tunnel itself: no longer route leads there",
                "add a longer route to it under `routes:`",
                code="plan.tunnel-loop",
            )


def _longer(routes: Sequence[Route], tunnels: Sequence[Tunnel]) -> Iterator[str]:
    """What looks as if it were behind a tunnel and is not."""
    clear = [IPv4Network(route.prefix) for route in routes if route.via is not None]
    for tunnel in tunnels:
        behind = [IPv4Network(prefix) for prefix in tunnel.prefixes]
        longer = [str(net) for net in clear if any(net != own and net.subnet_of(own) for own in behind)]
        if longer:
            more = f" and {len(longer) - _SHOWN} more" if len(longer) > _SHOWN else ""
            yield (
                f"routes that are longer than the prefixes of the tunnel to {tunnel.peer} leave in the clear: "
                f"{', '.join(longer[:_SHOWN])}{more}"
            )


def _twice(routes: Sequence[Route], tunnels: Sequence[Tunnel]) -> Iterator[str]:
    """Prefixes within another of the same tunnel's, with nothing between them that they are an exception to."""
    others = [IPv4Network(route.prefix) for route in routes]
    every = [IPv4Network(prefix) for tunnel in tunnels for prefix in tunnel.prefixes]
    for tunnel in tunnels:
        own = [IPv4Network(prefix) for prefix in tunnel.prefixes]
        for prefix in own:
            around = [net for net in (*every, *others) if net != prefix and prefix.subnet_of(net)]
            nearest = max(around, key=lambda net: net.prefixlen, default=None)
            if nearest in own:
                yield (
                    f"{prefix} of the tunnel to {tunnel.peer} is within {nearest} of the same tunnel: "
                    "the wider one is enough"
                )


def _behind(spec: Spec, routes: Sequence[Route], tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """Sources that no route and no other tunnel leads to: they are no networks of this side."""
    if isinstance(spec.routes, RouteFile):
        return
    clear = [IPv4Network(route.prefix) for route in routes]
    for number, tunnel in enumerate(tunnels):
        own = [IPv4Network(prefix) for prefix in tunnel.prefixes]
        others = [IPv4Network(prefix) for other in tunnels if other is not tunnel for prefix in other.prefixes]
        for index, source in enumerate(map(IPv4Network, tunnel.sources)):
            inside = max((net.prefixlen for net in own if source.subnet_of(net)), default=-1)
            ways = [*clear, *others]
            if not any(net.subnet_of(source) or (source.subnet_of(net) and net.prefixlen > inside) for net in ways):
                yield spec.source.mistake(
                    ("ipsec", number, "sources", index),
                    f"no route leads to {source}: what the peer sends there would be dropped",
                    "name networks on this side of the tunnel, or add a route under `routes:`",
                    code="plan.tunnel-sources",
                )


def _own(spec: Spec, plan: ClusterPlan) -> Iterator[Diagnostic]:
    own = {address for server in plan.servers for address in server.own_addresses}
    hint = "name another gateway as peer, and the networks behind it as prefixes"
    edges = {
        str(edge): network
        for network in (IPv4Network(route.prefix) for route in plan.routes.connected)
        for edge in (network.network_address, network.broadcast_address)
        if network.prefixlen < _POINT_TO_POINT
    }
    for number, tunnel in enumerate(spec.ipsec):
        prefixes = ((("prefixes", index), prefix) for index, prefix in enumerate(tunnel.prefixes))
        for path, text in ((("peer",), tunnel.peer), *prefixes):
            if text.removesuffix("/32") in own:
                message = f"{text} is an address of the router itself"
                yield spec.source.mistake(("ipsec", number, *path), message, hint, code="plan.tunnel-own")
        if tunnel.peer in edges and tunnel.peer not in own:
            yield spec.source.mistake(
                ("ipsec", number, "peer"),
                f"{tunnel.peer} is the first or last address of {edges[tunnel.peer]} at a port: no gateway has it",
                hint,
                code="plan.tunnel-peer",
            )


def _unreachable(spec: Spec, plan: ClusterPlan) -> Iterator[Diagnostic]:
    routes = [IPv4Network(route.prefix) for route in (*plan.routes.connected, *plan.routes.static)]
    for number, tunnel in enumerate(spec.ipsec):
        peer = IPv4Address(tunnel.peer)
        if not any(peer in network for network in routes) and not _in_file(spec, peer):
            yield spec.source.mistake(
                ("ipsec", number, "peer"),
                f"no route leads to {peer}: packets encrypted for it would be dropped",
                "add one under `routes:`, or name a neighbour as peer",
                code="plan.tunnel-route",
            )


def _in_file(spec: Spec, address: IPv4Address) -> bool:
    if not isinstance(spec.routes, RouteFile) or not len(spec.routes.columns):
        return False
    columns = spec.routes.columns
    networks, lengths = np.frombuffer(columns.networks, np.uint32), np.frombuffer(columns.lengths, np.uint8)
    masks = ((1 << 32) - (1 << (32 - lengths.astype(np.int64)))).astype(np.uint32)
    return bool(np.any((np.uint32(int(address)) & masks) == networks))
