"""Several results beside each other: the same figures by run, and which of them left what the runs before had."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rbops.report.results.document import LatencyDoc, RateSummaryDoc, ResultDoc, SoakDoc
from rbops.report.selftest_rates import frames_of
from rbops.report.tables import Block, Cell, Styled, Table

__all__ = ["Change", "Series", "changes", "comparison_blocks", "series"]

_LEAST_CHANGE = 0.02
_WIDTHS = 3.0
_FEW, _FEW_CHANGE = 4, 0.1
_SCALE = 1.4826
"""The median of absolute deviations times this is the standard deviation of normal values."""


@dataclass(frozen=True, slots=True)
class Series:
    """One figure by run, None where a run has none of it; ``better`` is the direction that is good."""

    name: str
    unit: str
    values: tuple[float | None, ...]
    better: int


@dataclass(frozen=True, slots=True)
class Change:
    """Run ``run`` (from 0) left what the runs before it had: ``before`` their median, ``ratio`` to it."""

    series: Series
    run: int
    before: float
    ratio: float

    @property
    def good(self) -> bool:
        """Whether it went the better way."""
        return (self.ratio > 1) == (self.series.better > 0)


def series(results: Sequence[ResultDoc]) -> tuple[Series, ...]:
    """Loss, rates by phase, the highest rate, NDR, PDR, latency and soaks, in the order in which they are shown."""
    names = list(dict.fromkeys(phase.name for result in results for phase in result.phases))
    found = [_of(results, "lost", "packets", -1, lambda one: float(sum(phase.lost for phase in one.phases)))]
    for name in names:
        found.append(_of(results, f"{name}: delivered", "Mpps", 1, _phase(name, lambda phase: phase.rate_pps / 1e6)))
        reordered = _phase(name, lambda phase: 100 * phase.reordering.fraction)
        found.append(_of(results, f"{name}: reordered", "%", -1, reordered))
    found.append(_of(results, "highest rate without loss", "Mpps", 1, _rate))
    if any(result.rate_ipv6 for result in results):
        found.append(_of(results, "highest rate without loss, IPv6", "Mpps", 1, _rate6))
    return (*found, *_measured(results))


def _measured(results: Sequence[ResultDoc]) -> Iterator[Series]:
    """NDR and PDR (the mean of the runs), latency by load, and the loss of soaks, of each family and size or mix."""
    for key in dict.fromkeys((_shape(each), each.rate) for result in results for each in result.rate_summary):
        rates = [{(_shape(each), each.rate): each.mean_pps / 1e6 for each in one.rate_summary} for one in results]
        name = f"{key[1].upper()} of {frames_of(*key[0])}"
        yield Series(name, "Mpps", tuple(found.get(key) for found in rates), 1)
    for load in dict.fromkeys(_load(each) for result in results for each in result.latency):
        points = [{_load(each): each for each in one.latency}.get(load) for one in results]
        name = f"of {frames_of(*load[0])}, {'unloaded' if load[1] is None else f'at {load[1]:.0%}'}"
        name += "" if load[2] == "one way" else f", {load[2]}"
        halves = tuple(None if point is None else 1e6 * point.p50_s for point in points)
        most = tuple(None if point is None else 1e6 * point.p99_s for point in points)
        yield Series(f"latency p50 {name}", "us", halves, -1)
        yield Series(f"latency p99 {name}", "us", most, -1)
    for shape in dict.fromkeys(_shape(each) for result in results for each in result.soak):
        losses = [{_shape(each): each.loss_ratio for each in one.soak}.get(shape) for one in results]
        yield Series(f"loss ratio of the soak of {frames_of(*shape)}", "of 1", tuple(losses), -1)


def _shape(one: RateSummaryDoc | LatencyDoc | SoakDoc) -> tuple[int, str | None, int]:
    return one.size, one.mix, one.family


def _load(one: LatencyDoc) -> tuple[tuple[int, str | None, int], float | None, str]:
    return _shape(one), one.part, one.way


def _of(
    results: Sequence[ResultDoc], name: str, unit: str, better: int, value: Callable[[ResultDoc], float | None]
) -> Series:
    return Series(name, unit, tuple(value(result) for result in results), better)


def _rate(result: ResultDoc) -> float | None:
    return None if result.rate is None else result.rate.rate_pps / 1e6


def _rate6(result: ResultDoc) -> float | None:
    return None if result.rate_ipv6 is None else result.rate_ipv6.rate_pps / 1e6


def _phase(name: str, value: Callable[..., float]) -> Callable[[ResultDoc], float | None]:
    return lambda result: next((value(phase) for phase in result.phases if phase.name == name), None)


def changes(found: Sequence[Series]) -> Iterator[Change]:
    """Where a run differs from the median of those before it: by over 2 % and over three times their spread.

    While fewer than four are known their spread says little: by over 10 % then.
    """
    for one in found:
        before: list[float] = []
        for run, value in enumerate(one.values):
            if value is None:
                continue
            middle = median(before) if before else value
            if abs(value - middle) > _allowed(before, middle):
                yield Change(one, run, middle, value / middle if middle else float("inf"))
                before = []  # what follows is compared with the new level
            before.append(value)


def _allowed(before: Sequence[float], middle: float) -> float:
    if len(before) < _FEW:
        return _FEW_CHANGE * abs(middle)
    spread = _SCALE * median(abs(each - middle) for each in before)
    return max(_LEAST_CHANGE * abs(middle), _WIDTHS * spread)


def comparison_blocks(results: Sequence[ResultDoc], names: Sequence[str]) -> Iterator[Block]:
    """A row for each figure, a column for each run; then the changes."""
    found = series(results)
    changed = {(change.series.name, change.run): change for change in changes(found)}
    rows = [
        (
            f"{one.name} ({one.unit})",
            *(_cell(value, changed.get((one.name, run))) for run, value in enumerate(one.values)),
        )
        for one in found
    ]
    verdicts: tuple[Cell, ...] = tuple(
        Styled("passed", "good") if result.passed else Styled("FAILED", "bad") for result in results
    )
    yield Table("Runs", ("figure", *names), (("verdict", *verdicts), *rows))
    if len({result.digest for result in results}) > 1:
        yield "note: the runs are of different plans: " + ", ".join(
            f"{name} {result.digest[:12]}" for name, result in zip(names, results, strict=True)
        )
    for change in changed.values():
        way = "better" if change.good else "worse"
        times = "from 0" if change.ratio == float("inf") else f"{change.ratio:.3g} times"
        text = f"{names[change.run]}: {change.series.name} is {times} what the runs before had ({way})"
        yield Styled(text, "good" if change.good else "bad")


def _cell(value: float | None, change: Change | None) -> Cell:
    if value is None:
        return "-"
    text = f"{value:.4g}"
    return text if change is None else Styled(f"{text} *", "good" if change.good else "bad")
