"""Loads of VLB as fluids: exact, without packets (paper 3.2).

Over the logical mesh of M servers, ``t[S, D]`` the traffic from S to D. VLB: every server, S and D among
them, is the intermediate of t/M; where it is S or D the packet takes the direct link. So link a->b
carries out(a)/M + in(b)/M, at most 2sR/M. Direct VLB: min(t, quota) goes direct, the rest over the
M - 2 others in equal shares. The quota, the rest of a's traffic and the rest of b's may meet on one link: how much that
is at most, and which quota the links bear, is worked out in docs/planning.md.
"""

from __future__ import annotations

import numpy as np

from rbops.vlb.matrix import Floats
from rbops.vlb.network import Network, Routing
from rbops.vlb.sums import sums

__all__ = ["leg_loads", "link_loads", "processing", "shares"]

_NO_INTERMEDIATE = 2


def shares(servers: int, routing: Routing, traffic: float, quota: float) -> tuple[float, float]:
    """The direct part of one pair's ``traffic``, and the part over each intermediate (0 to 1)."""
    if servers <= _NO_INTERMEDIATE or traffic == 0:
        return 1.0, 0.0
    direct = 2 / servers if routing == "vlb" else min(1.0, quota / traffic)
    return direct, (1 - direct) / (servers - 2)


def leg_loads(traffic: Floats, routing: Routing, quota: float) -> Floats:
    """Load of each logical link [from, to] in the unit of ``traffic``, a matrix between servers."""
    servers = len(traffic)
    remote = traffic.copy()
    np.fill_diagonal(remote, 0)
    if servers <= _NO_INTERMEDIATE:
        return remote
    if routing == "vlb":
        loads = remote.sum(axis=1)[:, None] / servers + remote.sum(axis=0)[None, :] / servers
    else:
        direct = np.minimum(remote, quota)
        rest = (remote - direct) / (servers - 2)
        loads = direct + (rest.sum(axis=1)[:, None] - rest) + (rest.sum(axis=0)[None, :] - rest)
    np.fill_diagonal(loads, 0)
    return np.asarray(loads, dtype=np.float64)


def link_loads(network: Network, legs: Floats) -> Floats:
    """Load of each physical link."""
    loads = np.zeros(len(network.ends))
    pairs = np.flatnonzero(network.routes[:, 0] >= 0)
    for hop in range(network.routes.shape[1]):
        np.add.at(loads, network.routes[pairs, hop], legs.reshape(-1)[pairs])
    return loads


def processing(network: Network, traffic: Floats, links: Floats) -> Floats:
    """What each server receives, from outside and over its links: 2R to 3R of a port server at full load."""
    received = sums(network.ends[:, 1], links, len(network.names))
    received[: len(traffic)] += traffic.sum(axis=1)
    return received
