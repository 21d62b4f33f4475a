"""NDR and PDR: the search against routers of known rate and loss, in numbers and with packets."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.errors import UsageError
from rbops.selftest.options import RateOptions, SelftestOptions
from rbops.selftest.rateresult import RateRun, Trial, summaries
from rbops.selftest.rates import SearchShape, find_rates
from rbops.selftest.run import run_selftest
from tests.support.errors import raises

from .conftest import ReferenceRouter

_FAST = SearchShape(trial_s=0.001, sum_s=0.003)


class Router:
    """Loses what is above ``limit`` packets a second, and ``always`` of all; the testers reach ``most``."""

    def __init__(self, limit: float, *, always: float = 0.0, most: float = 10e6) -> None:
        self.limit, self.always, self.most = limit, always, most

    def __call__(self, seconds: float, offered: float | None) -> Trial:
        del seconds
        rate = self.most if offered is None else min(offered, self.most)
        lost = max(0.0, rate - self.limit) + min(rate, self.limit) * self.always
        return Trial(offered, rate, round(rate), round(lost), 0)


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(min_value=0.1e6, max_value=9.9e6), method=st.sampled_from(["mlr", "rfc2544"]))
def test_bounds_hold_the_rate_and_are_half_a_percent_apart(limit: float, method: str) -> None:
    shape = SearchShape(method="mlr" if method == "mlr" else "rfc2544", trial_s=0.001, sum_s=0.003)
    found = find_rates(Router(limit), 64, 1, shape)
    assert found.complete
    for bounds, rate in ((found.ndr, limit), (found.pdr, limit / (1 - 0.005))):
        assert bounds.upper_pps is not None
        assert bounds.width is not None
        assert bounds.lower_pps - 2 <= rate <= bounds.upper_pps + 2
        assert bounds.width <= 0.00501
        assert not bounds.limited or rate > 0.99 * 10e6


def test_testers_that_are_slower_than_the_router_are_named() -> None:
    found = find_rates(Router(20e6), 64, 1, _FAST)
    assert (found.ndr.lower_pps, found.ndr.upper_pps, found.ndr.limited) == (pytest.approx(10e6), None, True)
    assert found.pdr.limited


def test_testers_that_are_late_are_named() -> None:
    """They send 10 Mpps unpaced, and only 4 paced."""

    def measure(seconds: float, offered: float | None) -> Trial:
        return Router(20e6, most=10e6 if offered is None else 4e6)(seconds, offered)

    found = find_rates(measure, 64, 1, _FAST)
    assert found.ndr.limited
    assert 3.9e6 < found.ndr.lower_pps <= 4.1e6


def test_little_loss_at_any_rate_leaves_a_partial_drop_rate() -> None:
    found = find_rates(Router(5e6, always=0.001), 64, 1, _FAST)
    assert found.ndr.lower_pps == 0
    assert found.pdr.lower_pps == pytest.approx(5e6, rel=0.01)


def test_time_ends_a_search_with_what_was_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    found = find_rates(Router(3e6), 64, 1, SearchShape(limit_s=10))
    assert not found.complete
    assert found.ndr.lower_pps <= 3e6 + 1
    assert found.ndr.upper_pps is None or found.ndr.upper_pps > 3e6


def test_runs_are_summed_up() -> None:
    runs = [find_rates(Router(limit), 64, number, _FAST) for number, limit in ((1, 2.00e6), (2, 2.02e6))]
    ndr, pdr = summaries(runs)
    assert (ndr.name, ndr.mean_pps) == ("ndr", pytest.approx(2.01e6, rel=0.006))
    assert 0 < ndr.spread < 0.02
    assert pdr.to_dict()["runs"] == 2


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: RateOptions(sizes=(63,)), "selftest.rate-sizes"),
        (lambda: RateOptions(sizes=()), "selftest.rate-sizes"),
        (lambda: RateOptions(runs=0), "selftest.runs"),
        (lambda: RateOptions(shape=SearchShape(limit_s=1.0)), "selftest.search-time"),
    ],
)
def test_what_makes_no_search_is_refused(make: Callable[[], RateOptions], code: str) -> None:
    with raises(UsageError, code):
        make()


def _rates(router: ReferenceRouter, limit_s: float) -> RateRun:
    shape = SearchShape(method="rfc2544", trial_s=0.1, sum_s=0.1, width=0.05, limit_s=limit_s)
    options = SelftestOptions(duration_s=1.0, phases=("rates",), rates=RateOptions((512,), 1, shape))
    result = run_selftest(router.plan, router.testers, router.mark, options)
    assert result.faults == ()
    return result.rate_runs[0]


@pytest.mark.root
def test_a_router_that_loses_one_in_a_thousand_has_no_rate_without_loss(router: ReferenceRouter) -> None:
    router.break_with("drop", every=1000)
    found = _rates(router, 8.0)
    # A trial of a tenth of a second with fewer packets than that may see no loss.
    assert found.ndr.lower_pps < 50_000
    assert found.ndr.lower_pps <= found.pdr.lower_pps
    trials = [trial for trial in found.trials if trial.offered_pps and trial.sent > 3_000]
    assert trials
    assert all(trial.lost >= trial.sent * 0.0009 - 1 for trial in trials)
