"""The paper's figures of RB4 beside those of a self-test, where the plan is RB4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rbops.paper import rb4
from rbops.plan import ClusterPlan
from rbops.selftest.latency import LatencyPoint
from rbops.selftest.phase import Phase
from rbops.selftest.rateresult import RateResult, RateRun

__all__ = ["PaperFigure", "beside_paper", "is_rb4"]

_SERVERS, _LINE_RATE_BPS, _SMALLEST = 4, 10_000_000_000, 64


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """A figure of the paper's section 6.2, from ``low`` to ``high``, and what was measured here."""

    name: str
    unit: Literal["bps", "s", "part"]
    low: float
    high: float
    measured: float

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        return asdict(self)


def is_rb4(plan: ClusterPlan) -> bool:
    """Four servers in a full mesh with an external port of 10 Gbps each, that route and balance by Direct VLB."""
    topology, external = (
        plan.topology,
        [port for server in plan.servers for port in server.ports if port.id is not None],
    )
    return (
        (topology.kind, topology.servers, len(external)) == ("mesh", _SERVERS, _SERVERS)
        and all(len(server.external_ports) == 1 for server in plan.servers)
        and all(port.rate_bps == _LINE_RATE_BPS for port in external)
        and (plan.forwarding.application, plan.forwarding.routing) == ("route", "direct-vlb")
    )


def beside_paper(
    plan: ClusterPlan,
    phases: Iterable[Phase],
    rate: RateResult | None,
    runs: Sequence[RateRun],
    latencies: Iterable[LatencyPoint],
) -> tuple[PaperFigure, ...]:
    """What was measured of what the paper tells of RB4, of IPv4; nothing where the plan is another router."""
    return tuple(_figures(plan, phases, rate, runs, latencies)) if is_rb4(plan) else ()


def _figures(
    plan: ClusterPlan,
    phases: Iterable[Phase],
    rate: RateResult | None,
    runs: Sequence[RateRun],
    latencies: Iterable[LatencyPoint],
) -> Iterator[PaperFigure]:
    for name, size, mix, paper in (
        ("rate, 64-byte packets", _SMALLEST, None, rb4.SMALLEST_BPS),
        ("rate, Abilene packets", None, "abilene", rb4.ABILENE_BPS),
    ):
        found: list[float] = [
            run.pdr.lower_pps * run.size * 8
            for run in runs
            if run.family == 4 and run.mix == mix and (size is None or run.size == size)  # noqa: PLR2004  the family
        ]
        if not found and rate is not None and rate.mix == mix and (size is None or rate.size == size):
            found = [rate.rate_bps]
        if lowest := min(found, default=0.0):
            yield PaperFigure(name, "bps", paper, paper, lowest)
    flowlets = plan.forwarding.flowlet_timeout_s > 0
    for phase in phases:
        if phase.name == "pair" and phase.received:
            how, paper = ("with flowlets", rb4.REORDERED) if flowlets else ("alone", rb4.REORDERED_ALONE)
            name = f"reordered sequences, one pair of ports, Direct VLB {how}"
            yield PaperFigure(name, "part", paper, paper, phase.reordering.fraction)
    for point in latencies:
        if point.part is None and point.way == "one way" and point.family == 4:  # noqa: PLR2004  the family
            yield PaperFigure(
                "latency of a packet, unloaded, median", "s", *rb4.LATENCY_S, point.found.percentiles_s[0]
            )
            return
