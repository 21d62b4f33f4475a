"""Mixes of sizes: which frames they are, and that each of them crosses a real router whole."""

from __future__ import annotations

import struct
from collections import Counter

import pytest

from rbops.errors import UsageError
from rbops.predict.packets import mix
from rbops.selftest.bench import by_size
from rbops.selftest.options import SelftestOptions
from rbops.selftest.result import Phase
from rbops.selftest.run import run_selftest
from rbops.selftest.sizes import MIXES, MOST_TURNS, Captured, SizeCount, sizes_of
from rbops.selftest.traffic import Traffic
from tests.support.errors import raises

from .conftest import ReferenceRouter, with_ipv6


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_has_exactly_its_shares(name: str) -> None:
    sizes = sizes_of(name)
    counts = Counter(sizes.turn)
    assert {size: count / len(sizes.turn) for size, count in counts.items()} == pytest.approx(dict(mix(name).shares))
    assert sizes.mean == pytest.approx(mix(name).mean_bytes)
    assert len(sizes.schedule) == 4 * len(sizes.turn)


def test_the_simple_imix_is_seven_four_and_one_in_turn() -> None:
    sizes = sizes_of("imix")
    assert Counter(sizes.turn) == {64: 7, 594: 4, 1518: 1}
    # No two of the large ones, and no four of the small ones, follow each other.
    twice = [*sizes.turn, *sizes.turn]
    assert all(set(twice[at : at + 4]) != {64} for at in range(len(sizes.turn)))
    assert struct.unpack_from("<I", sizes.schedule) == (60,)
    assert (sizes.size, sizes.largest, sizes.named) == (362, 1518, "imix frames (362 bytes on average)")


def test_ipv6_has_no_smaller_frame_than_its_headers_take() -> None:
    assert Counter(sizes_of("imix", 6).turn) == {84: 7, 594: 4, 1518: 1}
    assert sizes_of(64, 6).turn == (84,)
    assert sizes_of(512).schedule == b""


def test_counts_of_an_earlier_phase_are_not_taken_for_this_one() -> None:
    old, own = {"60": 7}, {"60": 2, "590": 1}
    answers = [{"lengths_sent": own, "lengths": {}}, {"lengths_sent": old, "lengths": own}]
    mixed = Traffic("pair", sizes_of("imix"), {0: (1,)}, 1.0, None)
    assert by_size(mixed, answers) == (SizeCount(64, 2, 2), SizeCount(594, 1, 1))
    assert by_size(Traffic("pair", sizes_of(1518), {0: (1,)}, 1.0, None), answers) == ()


def _counts(phase: Phase) -> dict[int, tuple[int, int]]:
    return {each.size: (each.sent, each.received) for each in phase.sizes}


@pytest.mark.root
@pytest.mark.parametrize("name", [*MIXES, Captured("a.pcap", (64, 1518, 300, 301))], ids=str)
def test_a_mix_crosses_the_router_whole_and_in_its_shares(router: ReferenceRouter, name: str | Captured) -> None:
    """3 x 2 x 2,400 packets: whole turns of 12, of 50 and of 4, so that the numbers are exact."""
    options = SelftestOptions(duration_s=1, packets=2_400, size=name, phases=("matrix",), family=4)
    result = router.steadily(lambda: run_selftest(router.plan, router.testers, router.mark, options))
    assert result.passed, result.faults
    (phase,) = result.phases
    sizes = sizes_of(name)
    expected = {size: count * 14_400 // len(sizes.turn) for size, count in Counter(sizes.turn).items()}
    assert _counts(phase) == {size: (count, count) for size, count in expected.items()}
    assert (phase.mix, phase.size) == (sizes.mix, sizes.size)
    assert phase.rate_bps == pytest.approx(phase.rate_pps * sizes.mean * 8)


@pytest.mark.root
def test_a_mix_of_ipv6_and_a_fault_in_it(router: ReferenceRouter) -> None:
    options = SelftestOptions(duration_s=1, packets=2_400, size="imix", phases=("matrix",), family=6)
    plan = with_ipv6(router.plan)
    result = router.steadily(lambda: run_selftest(plan, router.testers, router.mark, options))
    assert result.passed, result.faults
    assert list(_counts(result.phases[0])) == [84, 594, 1518]
    router.break_with("header", 1_009)
    broken = router.steadily(lambda: run_selftest(plan, router.testers, router.mark, options))
    assert {fault.kind for fault in broken.faults} == {"header"}
    assert sum(fault.packets for fault in broken.faults) == router.injected > 0


@pytest.mark.root
@pytest.mark.parametrize("fault", ["drop", "ttl", "checksum", "mac", "header", "corrupt"])
def test_wrong_packets_of_a_mix_are_counted_exactly(router: ReferenceRouter, fault: str) -> None:
    kinds = {"drop": "loss", "ttl": "TTL", "mac": "next-hop MAC"}
    router.break_with(fault, 1_009)
    options = SelftestOptions(duration_s=1, packets=2_400, size="imix", phases=("matrix",), family=4)
    result = router.steadily(lambda: run_selftest(router.plan, router.testers, router.mark, options))
    assert {found.kind for found in result.faults} == {kinds.get(fault, fault)}
    counted = sum(found.packets for found in result.faults)
    if fault == "corrupt":  # the reference router spoils byte 71, and leaves frames that end before it alone
        assert 0 < counted <= router.injected
    else:
        assert counted == router.injected == 14
    sent, received = (sum(column) for column in zip(*_counts(result.phases[0]).values(), strict=True))
    assert (sent, sent - received) == (14_400, 14 if fault == "drop" else 0)


@pytest.mark.root
def test_latency_and_rates_of_a_mix(router: ReferenceRouter) -> None:
    options = SelftestOptions(duration_s=2, size="imix", phases=("rate", "latency"), family=4)
    result = router.steadily(lambda: run_selftest(router.plan, router.testers, router.mark, options))
    assert result.rate is not None
    assert (result.rate.mix, result.rate.size) == ("imix", 362)
    assert {(point.mix, point.size) for point in result.latencies} == {("imix", 362)}
    assert all(point.floor.samples > 0 for point in result.latencies)


def test_a_captures_sizes_take_turns_in_its_order() -> None:
    wanted = Captured.of("a.pcap", [40, 1514, 64, 9000] * 2000)
    found = sizes_of(wanted)
    assert (found.mix, len(found.turn), found.turn[:4]) == ("a.pcap", MOST_TURNS, (64, 1514, 64, 1518))
    assert len(found.schedule) == 4 * MOST_TURNS
    assert min(sizes_of(wanted, 6).turn) == 84
    with raises(UsageError, "selftest.size"):
        SelftestOptions(size=Captured("none.pcap", ()))
