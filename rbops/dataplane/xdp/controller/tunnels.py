"""Prefixes behind tunnels in the forwarding table: their packets go to a kernel, which encrypts.

With static keys that is the input server's. Keys by IKE are at one server: the kernel there is a neighbour of its port.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import numpy as np

from rbops.dataplane.xdp.layout import TUNNEL_ADJACENCY, TUNNEL_VALUE
from rbops.plan import ClusterPlan, Tunnel
from rbops.render.ipsec import home
from rbops.render.routes import Table

__all__ = ["with_tunnels"]


def with_tunnels(plan: ClusterPlan, routes: Table) -> Table:
    """The routes, and those into tunnels behind them: the last of equal prefixes counts."""
    leading = [
        (IPv4Network(prefix), _value(plan, each)) for each in plan.forwarding.tunnels for prefix in each.prefixes
    ]
    if not leading:
        return routes
    prefixes, values = zip(*leading, strict=True)
    return replace(
        routes,
        networks=np.append(routes.networks, np.array([int(p.network_address) for p in prefixes], np.uint32)),
        lengths=np.append(routes.lengths, np.array([p.prefixlen for p in prefixes], np.uint8)),
        values=np.append(routes.values, np.array(values, np.uint32)),
    )


def _value(plan: ClusterPlan, tunnel: Tunnel) -> int:
    return TUNNEL_VALUE if tunnel.ike is None else home(plan, tunnel) << 16 | TUNNEL_ADJACENCY
