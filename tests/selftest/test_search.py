from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.selftest.result import Trial
from rbops.selftest.search import search
from rbops.selftest.traffic import chunk_at, flows_per_pair, longest, sent_to


class Router:
    """Loses packets above ``limit``; the testers reach ``most``."""

    def __init__(self, limit: float, most: float = 10e6) -> None:
        self.limit, self.most, self.trials = limit, most, 0

    def __call__(self, offered: float | None) -> Trial:
        self.trials += 1
        rate = self.most if offered is None else min(offered, self.most)
        return Trial(offered, rate, int(rate / 2), int(max(0, rate - self.limit) / 2), 0)


def test_testers_that_are_slower_than_the_router() -> None:
    router = Router(20e6)
    found = search(router, size=64, time_left=lambda _: True)
    assert (found.rate_pps, found.limit, router.trials) == (10e6, "testers", 1)
    assert found.rate_bps == 10e6 * 64 * 8


@given(st.floats(min_value=0.2e6, max_value=9.9e6))
def test_the_rate_is_found_to_five_percent(limit: float) -> None:
    found = search(Router(limit), size=64, time_left=lambda _: True)
    assert found.rate_pps <= limit + 2
    if found.limit == "precision":
        assert found.rate_pps >= limit * 0.95 - 2
    assert any(trial.passed and trial.sent_pps == found.rate_pps for trial in found.trials)


def test_time_ends_the_search() -> None:
    router = Router(3e6)
    found = search(router, size=64, time_left=lambda _: router.trials < 3)
    assert found.limit == "time"
    assert router.trials == 3
    assert found.rate_pps == pytest.approx(3e6)


def test_a_router_far_slower_than_the_testers_is_found_in_a_few_trials() -> None:
    found = search(Router(20e3), size=64, time_left=lambda _: True)
    assert found.limit == "precision"
    assert found.rate_pps == pytest.approx(20e3, rel=0.05)
    assert len(found.trials) < 10


@given(st.floats(min_value=100, max_value=2e6), st.floats(min_value=100, max_value=2e6))
def test_from_a_rate_near_the_router_s_own(limit: float, start: float) -> None:
    router = Router(limit)
    found = search(router, size=64, time_left=lambda _: True, start_pps=start)
    assert found.trials[0].offered_pps == start
    assert max(trial.sent_pps for trial in found.trials) <= max(start, 2 * limit) + 2
    assert limit * 0.95 - 4 <= found.rate_pps <= limit + 2 or (found.limit, len(found.trials)) == ("time", 12)
    if 1 / 16 <= start / limit <= 16:
        assert found.limit == "precision"


def test_no_time_at_all() -> None:
    found = search(Router(9e3), size=64, time_left=lambda _: False, start_pps=480e3)
    assert (found.rate_pps, found.limit, len(found.trials)) == (0, "time", 1)


def test_a_start_that_the_testers_cannot_send() -> None:
    found = search(Router(20e6, most=1e6), size=64, time_left=lambda _: True, start_pps=4e6)
    assert (found.rate_pps, found.limit, len(found.trials)) == (1e6, "testers", 1)


@pytest.mark.parametrize("start", [None, 480e3])
def test_a_rate_is_looked_for_when_time_is_up(start: float | None) -> None:
    """Trials on a loaded machine are slow; the first one may take all the time there is for a narrow answer."""
    found = search(Router(9e3), size=64, time_left=lambda found: not found, start_pps=start)
    assert found.limit == "time"
    assert 4e3 < found.rate_pps <= 9e3 + 2
    assert len(found.trials) <= 3


def test_a_router_that_always_loses() -> None:
    found = search(lambda offered: Trial(offered, offered or 1e6, 100, 1, 0), size=64, time_left=lambda _: True)
    assert (found.rate_pps, found.limit, len(found.trials)) == (0, "time", 12)


def test_nothing_slower_than_the_least_rate_is_tried() -> None:
    found = search(
        lambda offered: Trial(offered, offered or 1e6, 100, 60, 0), size=64, time_left=lambda _: True, least_pps=3e4
    )
    assert (found.rate_pps, found.limit) == (0, "loss")
    assert [trial.offered_pps for trial in found.trials] == [None, 4e5, 1.6e5, 6.4e4, 3e4]


def test_what_the_testers_could_not_send_proves_nothing() -> None:
    assert not Trial(None, 1e6, 100, 0, 1).passed
    assert not Trial(None, 0, 0, 0, 0).passed


@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5))
def test_what_was_sent_follows_from_the_turns(
    frames: int, destinations: int, groups: int, active: int, burst: int
) -> None:
    """As ``gen.bpf.c`` walks: groups of turns, bursts of rounds, each round one turn further on."""
    turns = [(turn * turn % destinations, turn) for turn in range(groups * active)]
    walked, turn, first, round_, group = [0] * destinations, 0, 0, 0, 0
    for _ in range(frames):
        walked[turns[group + (turn + first) % active][0]] += 1
        turn += 1
        if turn == active:
            turn, first, round_ = 0, (first + 1) % active, round_ + 1
        if round_ == burst:
            round_, group = 0, (group + active) % len(turns)
    assert [sent_to(frames, turns, to, active, burst) for to in range(destinations)] == walked
    if groups == burst == 1:
        assert [sent_to(frames, turns, to) for to in range(destinations)] == walked
    assert longest(frames, len(turns)) == -(-frames // len(turns))


def test_flows() -> None:
    assert flows_per_pair(4, 1) == 16
    assert flows_per_pair(64, 1) == 4
    assert flows_per_pair(4, 40) == 40


def test_bursts_are_a_millisecond_long_and_fit_into_a_sockets_buffer() -> None:
    assert [chunk_at(pps) for pps in (1.0, 9e3, 50e3, 2e6, 1e8, None)] == [8, 9, 50, 2000, 4096, 4096]
