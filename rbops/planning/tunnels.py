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
    wrong = [*_ends(spec, plan, tunnels), *_in_the_clear(spec, plan, tunnels)]
    if wrong:
        raise SpecError(wrong)
    warnings = (*plan.warnings, *_longer(routes, tunnels))
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
        for prefix in map(IPv4Network, tunnel.prefixes):
            if prefix in known or any(prefix.subnet_of(network) for network in near):
                yield spec.source.mistake(
                    ("ipsec", number, "prefixes"),
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


def _own(spec: Spec, plan: ClusterPlan) -> Iterator[Diagnostic]:
    own = {address for server in plan.servers for address in server.own_addresses}
    for number, tunnel in enumerate(spec.ipsec):
        places = [("peer", tunnel.peer), *((("prefixes"), prefix) for prefix in tunnel.prefixes)]
        for key, text in places:
            if text.removesuffix("/32") in own:
                yield spec.source.mistake(
                    ("ipsec", number, key),
                    f"{text} is an address of the router itself",
                    "name another gateway as peer, and the networks behind it as prefixes",
                    code="plan.tunnel-own",
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
