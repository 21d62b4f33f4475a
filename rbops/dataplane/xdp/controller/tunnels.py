"""Prefixes behind tunnels in the forwarding table: their packets go to the input server's kernel, which encrypts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import numpy as np

from rbops.dataplane.xdp.layout import TUNNEL_VALUE
from rbops.plan import ClusterPlan
from rbops.render.routes import Table

__all__ = ["with_tunnels"]


def with_tunnels(plan: ClusterPlan, routes: Table) -> Table:
    """The routes, and those into tunnels behind them: the last of equal prefixes counts."""
    prefixes = [IPv4Network(prefix) for tunnel in plan.forwarding.tunnels for prefix in tunnel.prefixes]
    if not prefixes:
        return routes
    return replace(
        routes,
        networks=np.append(routes.networks, np.array([int(p.network_address) for p in prefixes], np.uint32)),
        lengths=np.append(routes.lengths, np.array([p.prefixlen for p in prefixes], np.uint8)),
        values=np.append(routes.values, np.full(len(prefixes), TUNNEL_VALUE, np.uint32)),
    )
