"""VLB in the paper (sections 3.2 and 6): what a server processes, and the reordering experiment, simulated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rbops.paper import rb4
from rbops.paper.entry import Entry
from rbops.predict.packets import mix
from rbops.spec.interconnect import Interconnect
from rbops.vlb.fluid import leg_loads, link_loads, processing
from rbops.vlb.matrix import Floats, make
from rbops.vlb.network import Routing, mesh
from rbops.vlb.simulator import simulate
from rbops.vlb.trace import Workload, synthetic

__all__ = ["entries"]

_R = 10_000_000_000
_MANY = 256
_PACKETS = 300_000


def entries() -> Iterator[Entry]:
    """Processing per port in units of R for many servers, and RB4's reordered sequences."""
    uniform = np.full((_MANY, _MANY), 1 / _MANY)
    yield Entry("processing per port, uniform traffic", "3.2", "exact", 2, _factor(uniform, "direct-vlb"), 0.01, "R")
    pairs = np.roll(np.eye(_MANY), 1, axis=1)
    yield Entry("processing per port, worst traffic", "3.2", "exact", 3, _factor(pairs, "vlb"), 0.01, "R")
    yield Entry("flowlet timeout", "6.1", "exact", 0.1, Interconnect().flowlet_timeout_s, 0.0, "s")
    with_flowlets, without = _reordered(0.1), _reordered(0.0)
    yield Entry(
        "reordered sequences, Direct VLB with flowlets", "6.2", "measured", rb4.REORDERED, with_flowlets, None, "part"
    )
    yield Entry("reordered sequences, Direct VLB alone", "6.2", "measured", rb4.REORDERED_ALONE, without, None, "part")


def _factor(traffic: Floats, routing: Routing) -> float:
    network = mesh(len(traffic), line_rate_bps=1)
    links = link_loads(network, leg_loads(traffic, routing, 1 / len(traffic)))
    return float(processing(network, traffic, links).max())


def _reordered(timeout_s: float) -> float:
    """All traffic between one pair of RB4's ports, packets like Abilene's."""
    network = mesh(4, line_rate_bps=_R, link_bps=_R).with_forwarder(flowlet_timeout_s=timeout_s)
    offered = make("pair", network.owners, _R)
    trace = synthetic(offered, _R, _PACKETS, Workload(mix=mix("abilene").shares))
    return simulate(network, trace).reordered.fraction
