from __future__ import annotations

from dataclasses import replace

from rbops.plan import Link
from rbops.selftest.counters import ServerCounters, black_holes
from rbops.selftest.pace import slower
from rbops.selftest.result import Pair, Phase, Source
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic

from .conftest import make_plan

TRAFFIC = Traffic("matrix", FrameSizes((64,)), {0: (1,), 1: (0,)}, 2.0, 1e6, chunk=1000)


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


def _sent(direct: int, **over: int) -> dict[str, ServerCounters]:
    """What n0 sent towards n1: direct, and over other servers by their number."""
    paths: dict[tuple[int, int | None], int] = {(1, None): direct}
    paths.update({(1, int(name.removeprefix("n"))): packets for name, packets in over.items()})
    return {"n0": ServerCounters(paths=paths)}


def test_all_that_went_over_one_server_was_lost() -> None:
    (found,) = black_holes(make_plan(4), _sent(1000, n2=5000, n3=2000), 5010)
    assert (found.server, found.text) == ("n2", "all of the 5,000 packets sent over n2 were lost")
    # Two of which each may be the one are both to be looked at.
    assert len(black_holes(make_plan(4), _sent(1000, n2=5000, n3=5000), 5000)) == 2


def test_all_that_went_over_two_hops_was_lost() -> None:
    found = black_holes(make_plan(4), _sent(1000, n2=5000, n3=2000), 7000)
    assert {one.server for one in found} == {"n2", "n3"}


def test_a_part_of_everything_was_lost() -> None:
    assert black_holes(make_plan(4), _sent(1000, n2=5000, n3=2000), 3500) == ()
    assert black_holes(make_plan(4), _sent(8000), 4000) == ()
    assert black_holes(make_plan(4), {}, 4000) == ()


def test_a_cable_that_brings_nothing() -> None:
    plan = replace(make_plan(3), links=(Link("n0:int2", "n2:int0", 10**10),))
    readings = {"n0": ServerCounters(ports={"int2": (0, 4000)}), "n2": ServerCounters(ports={"int0": (3, 0)})}
    (found,) = black_holes(plan, readings, 4000)
    assert (found.server, found.packets) == ("n2", 3997)
    readings["n2"] = ServerCounters(ports={"int0": (2000, 0)})
    assert black_holes(plan, readings, 2000) == ()


def test_what_was_sent_to_a_server_between_others_was_lost() -> None:
    """In a fly with counters of n0 and n1 alone: n5 swallowed it, and not the intermediate that it was meant for."""
    plan = make_plan(6)
    servers = tuple(replace(server, external_ports=()) if server.index > 3 else server for server in plan.servers)
    links = (Link("n0:int4", "n4:int0", 10**10), Link("n0:int5", "n5:int0", 10**10))
    plan = replace(plan, servers=servers, links=links, topology=replace(plan.topology, kind="fly"))
    readings = _sent(1000, n2=5000, n3=2000)
    readings["n0"] = replace(readings["n0"], ports={"int4": (0, 3000), "int5": (0, 5000)})
    (found,) = black_holes(plan, readings, 4990)
    assert (found.server, found.text) == ("n5", "all of the 5,000 packets sent to n5 were lost")
    readings["n0"] = replace(readings["n0"], ports={"int4": (0, 8000), "int5": (0, 0)})
    (found,) = black_holes(plan, readings, 4990)
    assert (found.server, found.text) == ("n2", "all of the 5,000 packets sent over n2 were lost, there or on the way")
