"""A simulation's result as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rbops.report.tables import Block, Table
from rbops.vlb.network import Network
from rbops.vlb.result import SimulationResult

__all__ = ["reordering_blocks", "result_blocks", "result_json"]

_SHOWN = 16
"""Rows of a long table that are shown, the busiest first."""

_PAPER = {("direct-vlb", True): "0.15 %", ("direct-vlb", False): "5.5 %"}
_LEAST = 10
_FEW = 100
"""Fewer reordered sequences than this make no meaningful factor."""


def result_json(network: Network, matrix: str, seed: int, results: tuple[SimulationResult, ...]) -> dict[str, Any]:
    """One run's result, or several as ``runs``."""
    head = {"schema_version": 1, "topology": network.kind, "matrix": matrix, "seed": seed}
    if len(results) == 1:
        return {**head, **results[0].to_dict()}
    return {**head, "runs": [result.to_dict() for result in results]}


def result_blocks(network: Network, result: SimulationResult) -> Iterator[Block]:
    """The summary, then links and servers, the busiest first."""
    yield f"{_title(result)} over a {network.kind} of {len(network.names)} servers, {network.ports} external ports"
    yield Table("Cluster", ("what", "value"), tuple(_summary(network, result)))
    rows = sorted(result.links, key=lambda link: -link.load_bps / link.rate_bps)
    shown = tuple(
        (
            link.name,
            _gbps(link.load_bps),
            _gbps(link.rate_bps),
            _gbps(link.fluid_bps),
            f"{link.load_bps / link.rate_bps:.1%}",
        )
        for link in rows[:_SHOWN]
    )
    yield Table(_some("Links", len(rows)), ("link", "load", "rate", "fluid", "used"), shown)
    servers = sorted(result.servers, key=lambda server: -server.processed_bps)
    loads = tuple(
        (server.name, _gbps(server.processed_bps), "-" if server.factor is None else f"{server.factor:.2f} R")
        for server in servers[:_SHOWN]
    )
    yield Table(_some("Servers", len(servers)), ("server", "processes", "of its own input"), loads)


def _summary(network: Network, result: SimulationResult) -> Iterator[tuple[str, str]]:
    yield "packets", f"{result.packets} in {result.flows} flows over {result.duration_s * 1e3:.1f} ms"
    yield "offered", f"{_gbps(result.offered_bps)} on the wire"
    yield "throughput", f"{_gbps(result.throughput_bps)} on the wire, {_gbps(result.frame_bps)} in frames"
    yield "packet rate", f"{result.throughput_pps / 1e6:.3f} Mpps"
    yield "delivered", f"{result.delivered:.4%}"
    yield "fairness (Jain)", f"{result.fairness:.4f}"
    yield "direct", f"{result.direct_share:.2%} of what crossed the cluster"
    hops = network.routes.shape[1]
    extremes = f"({1 + hops} R all direct, {1 + 2 * hops} R all indirect)"
    yield "processing", f"{result.processing_factor:.3f} R over all servers {extremes}"
    yield "required of a link", _gbps(result.required_link_bps)
    latency = result.latency_s
    values = {"median": latency.median, "mean": latency.mean, "p99": latency.p99, "maximum": latency.maximum}
    yield "latency", ", ".join(f"{name} {_us(seconds)}" for name, seconds in values.items())
    yield "reordered sequences", f"{result.reordered.sequences} ({result.reordered.fraction:.4%})"


def reordering_blocks(results: tuple[SimulationResult, ...]) -> Iterator[Block]:
    """The paper's reordering experiment (6.2): a row per routing."""
    yield "All traffic between one pair of ports (paper 6.2): same-flow sequences that left reordered"
    rows = tuple(
        (
            _title(result),
            f"{result.reordered.fraction:.4%}",
            _PAPER.get((result.routing, result.flowlet_timeout_s > 0), "-"),
            f"{result.direct_share:.1%}",
            f"{result.delivered:.2%}",
        )
        for result in results
    )
    yield Table("Reordering", ("routing", "reordered", "paper", "direct", "delivered"), rows)
    with_flowlets, without = results[0].reordered, results[1].reordered
    if without.sequences:
        factor = without.fraction / max(with_flowlets.fraction, 1e-12)
        less = f"a factor of {factor:.0f} less" if with_flowlets.sequences >= _FEW else "almost none, or none"
        yield f"Reordered with flowlets: {less} (paper: a factor of 37; at least {_LEAST} is expected)"


def _title(result: SimulationResult) -> str:
    name = {"vlb": "VLB", "direct-vlb": "Direct VLB"}[result.routing]
    delta = result.flowlet_timeout_s
    return f"{name}, flowlets {delta * 1e3:g} ms" if delta else f"{name}, no flowlets"


def _some(title: str, count: int) -> str:
    return title if count <= _SHOWN else f"{title} (the busiest {_SHOWN} of {count})"


def _gbps(rate: float) -> str:
    return f"{rate / 1e9:.3f} Gbps"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us"
