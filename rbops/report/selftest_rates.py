"""Rates and latency of a self-test as lines and tables."""

from __future__ import annotations

from collections.abc import Sequence

from rbops.report.tables import Cell, Styled, Table
from rbops.report.words import counted
from rbops.selftest.latency import LatencyPoint
from rbops.selftest.rateresult import Bounds, RateResult, RateRun, RateSummary
from rbops.selftest.sizes import frames
from rbops.selftest.soak import CONFIDENCE, SoakResult, loss_bound, part_bound

__all__ = [
    "LIMITS",
    "bounds_cells",
    "frames_of",
    "latency_table",
    "rate_limit",
    "rate_line",
    "rates_table",
    "soak_line",
    "summary_line",
]

_SLOW_PPS = 100_000
LIMITS = {
    "testers": "the testers cannot send faster",
    "precision": "the next rate tried, up to 5% more, had loss",
    "loss": "packets were lost at every rate",
    "time": "as near as the time allowed",
}


def frames_of(size: int, mix: str | None, family: int) -> str:
    """What was sent, in words."""
    return f"{frames(size, mix)}{'' if family == 4 else ' of IPv6'}"  # noqa: PLR2004  the family


def rate_line(rate: RateResult, what: str = "highest rate without loss") -> str:
    """One line: the highest rate without loss, and what ended the search."""
    if not rate.rate_pps:
        slowest = min(trial.sent_pps for trial in rate.trials)
        return (
            f"{what}: none found in {len(rate.trials)} trials of {frames(rate.size, rate.mix)}, "
            f"the slowest at {slowest:,.0f} packets a second"
        )
    digits = 2 if rate.rate_pps >= _SLOW_PPS else 4
    return (
        f"{what}: {rate.rate_pps / 1e6:.{digits}f} Mpps, {rate.rate_bps / 1e9:.{digits}f} Gbps of "
        f"{frames(rate.size, rate.mix)}, all ports at once ({LIMITS[rate.limit]}; "
        f"{counted(len(rate.trials), 'trial')})"
    )


def rates_table(runs: Sequence[RateRun]) -> Table:
    """NDR and PDR with their bounds, a row for each search."""
    columns = ("bytes", "run", "NDR Mpps", "bounds", "PDR Mpps", "bounds", "trials", "seconds", "limit")
    rows = tuple(
        (
            _size(run.size, run.mix, run.family),
            str(run.run),
            *(cell for bounds in (run.ndr, run.pdr) for cell in bounds_cells(bounds)),
            f"{len(run.trials)} of {run.trial_s:g} s",
            f"{run.seconds:.0f}",
            rate_limit(run),
        )
        for run in runs
    )
    return Table("Rates of all ports at once: NDR without loss, PDR with 0.5% at most", columns, rows)


def latency_table(points: Sequence[LatencyPoint]) -> Table:
    """A row for each load."""
    columns = (
        "bytes",
        "load",
        "way",
        "Mpps",
        "lost",
        "min",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "IPDV",
        "testers alone, p50",
        "timed",
    )
    rows = tuple(
        (
            _size(point.size, point.mix, point.family),
            "unloaded" if point.part is None else f"{point.part:.0%}",
            point.way,
            _offered(point),
            f"{point.lost:,}",
            *(_us(value) for value in (point.found.min_s, *point.found.percentiles_s, point.found.max_s)),
            _us(point.found.variation_s),
            _us(point.floor.percentiles_s[0]),
            f"{point.found.samples:,}",
        )
        for point in points
    )
    return Table("Latency in microseconds, of all ports at once", columns, rows)


def _size(size: int, mix: str | None, family: int) -> str:
    text = str(size) if mix is None else f"{size} {mix}"
    return text if family == 4 else f"{text} IPv6"  # noqa: PLR2004  the family


def _offered(point: LatencyPoint) -> Cell:
    sent = f"{point.sent_pps / 1e6:.4f}"
    return sent if point.reached else Styled(f"{sent} of {point.offered_pps / 1e6:.4f}", "bad")


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}"


def soak_line(soak: SoakResult) -> str:
    """One line: the load, what was lost of it, and what that proves."""
    ended = "" if soak.complete else ", ended early"
    rate = f"{soak.sent_pps / 1e6:.4f} of {soak.offered_pps / 1e6:.4f} Mpps"
    return (
        f"soak of {frames_of(soak.size, soak.mix, soak.family)}: {rate} "
        f"({soak.part:.0%} of the rate that was found) for {soak.seconds:,.0f} s{ended}; {soak.lost:,} of "
        f"{soak.sent:,} packets lost, loss ratio {soak.loss_ratio:.3g}, with {CONFIDENCE:.0%} confidence at most "
        f"{loss_bound(soak.lost, soak.sent):.3g}; loss in {soak.lossy:,} of {len(soak.slices):,} slices (at most "
        f"{part_bound(soak.lossy, len(soak.slices)):.2%}), the worst {soak.worst:.3g}"
    )


def bounds_cells(bounds: Bounds) -> tuple[str, str]:
    """The lower bound, and both with their width, in Mpps."""
    upper = "-" if bounds.upper_pps is None else f"{bounds.upper_pps / 1e6:.4f}"
    width = "" if bounds.width is None else f" ({bounds.width:.2%})"
    return f"{bounds.lower_pps / 1e6:.4f}", f"{bounds.lower_pps / 1e6:.4f} to {upper}{width}"


def rate_limit(run: RateRun) -> str:
    """What ended a search."""
    if not run.complete:
        return "time"
    names = [name for name, bounds in (("NDR", run.ndr), ("PDR", run.pdr)) if bounds.limited]
    return f"testers ({', '.join(names)})" if names else "router"


def summary_line(one: RateSummary) -> str:
    """One line: a rate over several runs."""
    return (
        f"{one.name.upper()} of {frames_of(one.size, one.mix, one.family)} over {len(one.rates_pps)} runs: "
        f"mean {one.mean_pps / 1e6:.4f} Mpps, spread {one.spread:.2%}"
    )
