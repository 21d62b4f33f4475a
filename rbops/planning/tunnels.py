"""Tunnels against the plan: the peer is another gateway, and a route leads there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import numpy as np

from rbops.errors import Diagnostic, SpecError
from rbops.plan import ClusterPlan
from rbops.spec.document import Spec
from rbops.spec.routes import RouteFile

__all__ = ["check_tunnels"]


def check_tunnels(spec: Spec, plan: ClusterPlan) -> None:
    """Raises SpecError for tunnels to the router itself, whose packets are its kernels', and for peers without a route.

    Where a routing daemon fills the table, whether a route leads to a peer is known later.
    """
    wrong = [*_own(spec, plan), *(_unreachable(spec, plan) if plan.routing is None else ())]
    if wrong:
        raise SpecError(wrong)


def _own(spec: Spec, plan: ClusterPlan) -> Iterator[Diagnostic]:
    ports = [port for server in plan.servers for port in server.ports if port.id is not None]
    own = {address.partition("/")[0] for port in ports for address in port.addresses}
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
