from __future__ import annotations

from rbops.selftest.pace import slower
from rbops.selftest.result import Pair, Phase, Source
from rbops.selftest.traffic import Traffic

TRAFFIC = Traffic("matrix", 64, {0: (1,), 1: (0,)}, 2.0, 1e6, chunk=1000)


def _phase(*received: int, sent: int = 1000, unsent: int = 0) -> Phase:
    pairs = tuple(Pair(at, 1 - at, sent, count) for at, count in enumerate(received))
    sources = tuple(Source(at, sent, unsent, 2.0) for at in range(len(received)))
    return Phase("matrix", 64, 2.0, sources, pairs)


def test_what_arrived_whole_is_not_repeated() -> None:
    assert slower(TRAFFIC, _phase(1000, 1000)) is None


def test_a_few_lost_packets_are_a_fault_and_no_overload() -> None:
    assert slower(TRAFFIC, _phase(960, 960)) is None


def test_a_pair_without_a_packet_is_a_fault_and_no_overload() -> None:
    assert slower(TRAFFIC, _phase(0, 500)) is None


def test_a_router_that_loses_most_is_offered_half_of_what_came_through() -> None:
    found = slower(TRAFFIC, _phase(100, 300))
    assert found is not None
    traffic, reason = found
    assert traffic.pps == (100 + 300) / 2.0 / 2 / 2
    assert traffic.chunk == 1
    assert reason == "the router lost 1,600 of 2,000 packets"


def test_a_tester_that_outran_its_device_is_slowed_first() -> None:
    found = slower(TRAFFIC, _phase(1000, 900, unsent=50))
    assert found is not None
    traffic, reason = found
    assert (traffic.pps, traffic.chunk) == (0.5e6, 64)
    assert reason == "a tester sent faster than its own device (100 frames)"
