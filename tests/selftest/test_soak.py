"""Soak: bounds that are known from tables, and a router of known loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.errors import UsageError
from rbops.selftest.options import SelftestOptions, SoakOptions
from rbops.selftest.result import SelftestResult
from rbops.selftest.run import run_selftest
from rbops.selftest.session import Session
from rbops.selftest.sizes import sizes_of
from rbops.selftest.soak import Slice, SoakResult, loss_bound, part_bound
from tests.support.errors import raises

from .conftest import ReferenceRouter


@pytest.mark.parametrize(
    ("lost", "mean"), [(0, 2.9957), (1, 4.7439), (5, 10.5130), (10, 16.9622), (100, 118.079), (1000, 1053.59)]
)
def test_the_bound_is_that_of_the_poisson_distribution(lost: int, mean: float) -> None:
    """Half the 95 % quantile of chi-squared with 2 lost + 2 degrees of freedom."""
    assert loss_bound(lost, 10**9) == pytest.approx(mean / 1e9, rel=3e-5)


@pytest.mark.parametrize(
    ("hits", "tries", "chance"), [(0, 10, 0.25887), (1, 10, 0.39416), (5, 10, 0.77756), (0, 180, 0.016505)]
)
def test_the_bound_of_slices_is_clopper_and_pearsons(hits: int, tries: int, chance: float) -> None:
    assert part_bound(hits, tries) == pytest.approx(chance, rel=1e-3)


@settings(deadline=None, max_examples=50)
@given(lost=st.integers(0, 10**7), more=st.integers(0, 10**9))
def test_a_bound_is_above_what_was_seen_and_near_it_when_much_was(lost: int, more: int) -> None:
    sent = max(1, lost + more)
    bound = loss_bound(lost, sent)
    assert lost / sent <= bound <= min(1.0, (lost + 2 * math.sqrt(lost + 1) + 3.1) / sent)


def test_nothing_sent_proves_nothing() -> None:
    assert (loss_bound(0, 0), part_bound(0, 0)) == (1.0, 1.0)


def test_the_sums_of_slices() -> None:
    found = SoakResult(64, 0.9, 1e6, 21.5, (Slice(10, 0, 10.0), Slice(30, 3, 10.0)), complete=True)
    assert (found.sent, found.lost, found.lossy, found.worst, found.sent_pps) == (40, 3, 1, 0.1, 2.0)
    assert found.to_dict()["slices"] == [[10, 0, 10.0], [30, 3, 10.0]]


@pytest.mark.parametrize("seconds", [4.0, 8 * 3600 + 1.0])
def test_times_that_make_no_soak(seconds: float) -> None:
    with raises(UsageError, "selftest.soak-time"):
        SoakOptions(seconds)


@pytest.mark.parametrize("part", [0.0, 1.01])
def test_loads_that_make_no_soak(part: float) -> None:
    with raises(UsageError, "selftest.soak-load"):
        SoakOptions(60.0, part)


def _run(router: ReferenceRouter, options: SelftestOptions) -> SelftestResult:
    return router.steadily(lambda: run_selftest(router.plan, router.testers, router.mark, options))


@pytest.mark.root
def test_a_loss_that_is_known_is_within_its_bound(router: ReferenceRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One packet in 2,003 is lost."""
    monkeypatch.setattr(Session, "found_rates", lambda _: {sizes_of(128): 20_000.0})
    router.break_with("drop", 2003)
    result = _run(router, SelftestOptions(phases=("soak",), soak=SoakOptions(5.0, 0.5), family=4))
    (found,) = result.soaks
    assert (found.complete, found.size, found.part, found.offered_pps) == (True, 128, 0.5, 10_000.0)
    # Two cores that count at once may miss one.
    assert found.sent / 2003 * 0.99 - 2 <= found.lost <= found.sent / 2003 * 1.01 + 2
    assert loss_bound(found.lost, found.sent) > found.loss_ratio > 0
    assert found.lossy == len(found.slices)


@pytest.mark.root
def test_without_a_rate_there_is_no_soak(router: ReferenceRouter) -> None:
    options = SelftestOptions(duration_s=0.5, packets=10, phases=("matrix", "soak"), soak=SoakOptions(5.0), family=4)
    result = _run(router, options)
    assert result.soaks == ()
    assert any("no rate was found" in note for note in result.notes)
