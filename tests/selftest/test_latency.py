"""Latency: known times give known values; packets through a router and over a cable are timed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rbops.selftest.latency import ANSWER_NS, PERCENTILES, crossings, distribution, round_trips, summed
from rbops.selftest.options import SelftestOptions
from rbops.selftest.run import run_selftest

from .conftest import ReferenceRouter


def test_the_times_of_a_packet_are_matched_by_source_destination_and_flow() -> None:
    """Tester 1 of three sends two flows to 0 and 2; slot n of a flow is sent at 1000 n + 1 and takes what is asked."""
    flows, room, testers = 2, 4, 3
    sent = np.zeros((flows, 2, room), np.uint64)
    came = {to: np.zeros((testers, flows, room), np.uint64) for to in (0, 2)}
    for flow in range(flows):
        for position, to in enumerate((0, 2)):
            for slot in range(room):
                sent[flow, position, slot] = 1000 * slot + 1
                came[to][1, flow, slot] = 1000 * slot + 1 + 10 * to + flow + 5
    came[2][1, 0, 3] = 0  # lost
    found = [
        list(arrived - written)
        for position, to in enumerate((0, 2))
        for written, arrived in crossings(sent.tobytes(), came[to].tobytes(), (position, 2), 1, flows, room, testers)
    ]
    assert found == [[5] * 4, [6] * 4, [25] * 3, [26] * 4]


def test_a_round_trip_is_free_of_the_clocks() -> None:
    """A far clock 30 years ahead that runs 50 ppm fast: 10 us there, 25 us back, some of them lost."""
    draw = np.random.default_rng(3)

    def far(near: np.ndarray) -> np.ndarray:
        return near + 10**18 + near // 20_000

    sent = 10**12 + np.sort(draw.integers(0, 2 * 10**9, 4000))
    answered = 10**12 + np.sort(draw.integers(0, 2 * 10**9, 3000))
    there = [(sent[half::2], far(sent[half::2] + 10_000)) for half in (0, 1)]
    back = [(far(answered), answered + 25_000)]
    found = round_trips(there, back, 1)
    assert 3900 < len(found) <= 4000
    assert np.abs(found - 35_000).max() <= ANSWER_NS // 20_000 + 2
    assert len(round_trips(there, [], 1)) == len(round_trips([], back, 1)) == 0


def test_no_packet_back_stands_for_its_burst() -> None:
    """Every 10 ms four packets back leave at once, each of which takes 1 us longer; all of them are taken alike."""
    burst = np.arange(0, 4 * 10**9, 10**7).repeat(4)
    back = [(burst, burst + np.tile([1000, 2000, 3000, 4000], 400))]
    sent = np.arange(0, 4 * 10**9 - 3 * 10**7, 10**6)
    found = round_trips([(sent, sent + 500)], back, 1) - 500
    assert [abs((found == wait).mean() - 0.25) < 0.03 for wait in (1000, 2000, 3000, 4000)] == [True] * 4


def test_two_testers_alone_are_drawn_together() -> None:
    one, other = np.arange(1, 101), np.arange(1000, 50_000, 1000)
    found = summed([one[:50], one[50:]], [other], 1)
    assert len(found) == len(other)
    assert sorted(found // 1000) == list(range(1, 50))
    assert any(later < earlier for earlier, later in pairwise(found))


def test_percentiles_are_values_that_were_measured() -> None:
    flow = np.arange(1, 1001) * 1000
    found = distribution([flow])
    assert found is not None
    assert found.samples == 1000
    assert PERCENTILES == (50.0, 90.0, 99.0, 99.9)
    assert found.percentiles_s == tuple(pytest.approx(value) for value in (500e-6, 900e-6, 990e-6, 999e-6))
    assert (found.min_s, found.max_s, found.variation_s) == (
        pytest.approx(1e-6), pytest.approx(1e-3), pytest.approx(1e-6),
    )  # fmt: skip
    assert sum(count for _, count in found.histogram) == 1000
    assert all(0 < bound <= 1.012e6 for bound, _ in found.histogram)
    assert distribution([]) is None
    value = found.to_dict()
    assert (value["p99.9_s"], value["pdv_p99.9_s"]) == (0.000999, 0.000998)


@pytest.mark.root
def test_packets_through_a_router_are_timed(router: ReferenceRouter) -> None:
    options = SelftestOptions(duration_s=1.0, size=512, phases=("latency",))
    result = run_selftest(router.plan, router.testers, router.mark, options)
    assert result.faults == ()
    (point,) = result.latencies
    assert point.part is None
    assert point.lost == 0
    # Every packet of 200 a second and port has its two times.
    assert point.found.samples == point.sent
    assert 0 < point.found.min_s <= point.found.percentiles_s[0] <= point.found.max_s
    assert 0 < point.floor.min_s <= point.found.percentiles_s[-1]
    assert point.floor.samples >= 100  # of a thousand, as far as the processor is given


@pytest.mark.root
def test_a_delay_that_is_known_is_found(router: ReferenceRouter) -> None:
    """The reference router's detour: reordered packets take longer than those that go straight."""
    options = SelftestOptions(duration_s=1.0, size=512, phases=("latency",))
    plain = run_selftest(router.plan, router.testers, router.mark, options).latencies[0]
    router.break_with("reorder", every=2)
    detour = run_selftest(router.plan, router.testers, router.mark, options).latencies[0]
    assert detour.found.percentiles_s[1] > plain.found.min_s
