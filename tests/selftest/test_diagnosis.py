"""Counts become sentences that name ports, packets and the server to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rbops.plan import ClusterPlan, Link
from rbops.selftest.bench import Outcome
from rbops.selftest.counters import Readings, ServerCounters, difference, parse, spread, suspicions
from rbops.selftest.diagnosis import Evidence, diagnose
from rbops.selftest.ports import AttachedTester, Destination, PortUnderTest
from rbops.selftest.result import Fault, Pair, PathCount, Phase, Source
from rbops.selftest.wire import Epoch, FlowHeaders, Ident, headers, mac_bytes
from rbops.selftest.wire import FrameFault as Sample

from .conftest import make_plan

SENT = 3_000_000


def attached(count: int = 3) -> list[AttachedTester]:
    return [
        AttachedTester(
            number,
            PortUnderTest(
                number, f"n{number}", f"198.18.{number}.1", f"198.18.{number}.2",
                (Destination(f"198.18.{number}.2", f"02:4e:00:{number:02x}:00:02"),), 2, 10**10,
            ),
            f"02:4e:00:{number:02x}:00:02",
            f"02:4c:00:{number:02x}:00:00",
        )
        for number in range(count)
    ]  # fmt: skip


def pairs(**changed: Pair) -> tuple[Pair, ...]:
    """All pairs of three ports, healthy but for ``_0_2=Pair(...)``."""
    healthy = {(a, b): Pair(a, b, SENT, SENT) for a in range(3) for b in range(3) if a != b}
    for pair in changed.values():
        healthy[pair.source, pair.destination] = pair
    return tuple(healthy.values())


def faults(
    these: tuple[Pair, ...],
    *,
    readings: Readings | None = None,
    plan: ClusterPlan | None = None,
    samples: dict[int, dict[Sample, bytes]] | None = None,
    unsent: dict[int, int] | None = None,
    ordered: bool = True,
) -> list[Fault]:
    sources = tuple(
        Source(port, sum(pair.sent for pair in these if pair.source == port), (unsent or {}).get(port, 0), 1.0)
        for port in sorted({pair.source for pair in these})
    )
    phase = Phase("matrix", 64, 1.0, sources, these)
    evidence = Evidence(Outcome(phase, samples or {}), attached(), ordered, (), readings or {})
    if readings:
        evidence = replace(evidence, suspicions=suspicions(plan or make_plan(3), readings, evidence.handed))
    return list(diagnose(evidence))


def texts(these: tuple[Pair, ...], **options: Any) -> list[str]:
    return [fault.text for fault in faults(these, **options)]


def frame(sequence: int = 0, **changes: Any) -> bytes:
    """A frame from port 0 to port 2 as it leaves, with other headers where asked for."""
    shape = FlowHeaders(
        mac_bytes("02:4e:00:02:00:02"), mac_bytes("02:4c:00:02:00:00"), "198.18.0.2", "198.18.2.2", 63, 0
    )
    epoch = Epoch(0x12345001, (1, 2), 60, 4)
    return headers(replace(shape, **changes), 60) + Ident(epoch.magic, 0, 2, sequence, 0).pack(epoch)


def counted(**changes: Any) -> ServerCounters:
    """A server's share of the healthy matrix: two thirds of it direct, no hop over a third."""
    healthy = ServerCounters(
        received={"external": 2 * SENT, "internal": 2 * SENT},
        forwarded={"local": 0, "direct": 2 * SENT, "phase1": 0, "phase2": 0, "egress": 2 * SENT},
        punted={"ttl": 0},
        dropped={"no_route": 0},
        paths={(1, None): SENT, (2, None): SENT},
    )
    return replace(healthy, **changes)


def test_a_healthy_phase_has_no_faults() -> None:
    assert faults(pairs(), readings={f"n{number}": counted() for number in range(3)}) == []


def test_loss() -> None:
    assert texts(pairs(a=Pair(0, 2, SENT, SENT - 12))) == ["loss 12 of 3,000,000 from port 0 to port 2"]


def test_loss_with_the_server_that_dropped() -> None:
    readings = {"n0": counted(), "n1": counted(), "n2": counted(dropped={"no_adjacency": 12, "ttl": 0})}
    (found,) = faults(pairs(a=Pair(0, 2, SENT, SENT - 12)), readings=readings)
    assert found.text == "loss 12 of 3,000,000 from port 0 to port 2 [n2 dropped 12: no_adjacency]"
    assert (found.kind, found.packets, found.source, found.destination, found.server) == ("loss", 12, 0, 2, "n2")


def test_loss_on_a_cable_names_both_ends() -> None:
    plan = replace(make_plan(3), links=(Link("n0:int2", "n2:int0", 10**10),))
    readings = {
        "n0": counted(ports={"int2": (SENT, SENT)}),
        "n1": counted(),
        "n2": counted(ports={"int0": (SENT - 7, SENT)}),
    }
    (found,) = faults(pairs(a=Pair(0, 2, SENT, SENT - 7)), readings=readings, plan=plan)
    assert found.text.endswith("[7 of 3,000,000 packets sent on n0:int2 did not arrive at n2:int0]")
    assert found.server == "n2"


def test_loss_at_the_entrance() -> None:
    readings = {
        "n0": counted(received={"external": 2 * SENT - 5, "internal": 0}), "n1": counted(), "n2": counted(),
    }  # fmt: skip
    (found,) = faults(pairs(a=Pair(0, 2, SENT, SENT - 5)), readings=readings)
    assert found.text.endswith("[n0 counted 5,999,995 of the 6,000,000 packets put on its external ports]")
    assert found.server == "n0"


def test_misdelivered() -> None:
    (found,) = faults(pairs(a=Pair(0, 2, SENT, SENT - 1, misdelivered=((1, 1),))))
    assert found.text == (
        "misdelivered: 1 of 3,000,000 from port 0 to port 2: for port 2 came out of port 1; "
        "n0 chose the port: check its routes"
    )
    assert (found.kind, found.server) == ("misdelivered", "n0")


def test_each_wrong_thing_has_its_name() -> None:
    way = "of 3,000,000 from port 0 to port 2"
    for change, kind, text in (
        ({"duplicates": 3}, "duplicate", f"duplicate: 3 {way} arrived more than once"),
        ({"corrupt": 1}, "corrupt", f"corrupt: 1 {way}: payload or length changed"),
        ({"header": 1}, "header", f"header: 1 {way}: a header field that no router changes is not what was sent"),
        ({"ttl": 2}, "TTL", f"TTL: 2 {way}: not one less than sent; n0 sets it"),
        ({"checksum": 2}, "checksum", f"checksum: 2 {way}: IPv4 header checksum wrong; n0 sets it"),
        ({"next_hop_mac": 4}, "next-hop MAC", f"wrong next-hop MAC: 4 {way}; n2 writes it"),
        ({"source_mac": 4}, "source MAC", f"wrong source MAC: 4 {way}; n2 writes it"),
        ({"late": 4, "sequences": 2}, "late", f"late: 4 {way}, in 2 reordered sequences, below the direct quota"),
    ):
        (found,) = faults(pairs(a=replace(Pair(0, 2, SENT, SENT), **change)))
        assert (found.kind, found.text) == (kind, text)


def test_a_mangled_packet_is_not_lost_as_well() -> None:
    (found,) = faults(pairs(a=Pair(0, 2, SENT, SENT - 1, mangled=1)))
    assert found.kind == "corrupt"


def test_samples_make_it_concrete() -> None:
    wrong = {
        Sample.TTL: frame(ttl=62),
        Sample.DESTINATION_MAC: frame(destination_mac=mac_bytes("02:4e:00:01:00:02")),
        Sample.SOURCE_MAC: frame(source_mac=mac_bytes("02:4c:00:01:00:00")),
    }
    broken = pairs(a=Pair(0, 2, SENT, SENT, ttl=1, next_hop_mac=1, source_mac=1))
    ttl, next_hop, source = texts(broken, samples={2: wrong})
    assert "62 where 64 was sent" in ttl
    assert "02:4e:00:01:00:02 instead of 02:4e:00:02:00:02" in next_hop
    assert "02:4c:00:01:00:00 instead of 02:4c:00:02:00:00" in source
    # A sample from port 0 says nothing about packets from port 1.
    other = pairs(a=Pair(1, 2, SENT, SENT, ttl=1))
    assert "not one less than sent" in texts(other, samples={2: wrong})[0]


def test_late_packets_where_order_is_not_promised() -> None:
    assert faults(pairs(a=Pair(0, 2, SENT, SENT, late=9, sequences=3)), ordered=False) == []


def dead(port: int) -> tuple[Pair, ...]:
    return pairs(
        **{
            f"p{a}{b}": Pair(a, b, SENT, 0)
            for a in range(3)
            for b in range(3)
            if a != b and port in (a, b)
        }
    )  # fmt: skip


def test_a_dead_server_is_named_from_the_matrix_alone() -> None:
    found = faults(dead(1))
    assert [(fault.source, fault.destination) for fault in found] == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert {fault.kind for fault in found} == {"nothing arrived"}
    assert found[0].text == ("nothing arrived from port 0 to port 1 (3,000,000 sent): is the data plane of n1 up?")
    assert {fault.server for fault in found} == {"n1"}


def test_a_dead_server_is_named_by_its_missing_counters() -> None:
    everything = tuple(Pair(a, b, SENT, 0) for a in range(3) for b in range(3) if a != b)
    readings = {"n0": counted(), "n1": ServerCounters(error="nothing is attached"), "n2": counted()}
    found = [fault for fault in faults(everything, readings=readings) if fault.kind == "nothing arrived"]
    touching = [fault for fault in found if 1 in (fault.source, fault.destination)]
    assert {fault.server for fault in touching} == {"n1"}
    assert "[n1 gave no counters: nothing is attached]" in touching[0].text


def test_a_server_that_counts_nothing_is_down() -> None:
    nothing = counted(received={"external": 0, "internal": 0}, paths={})
    plan = replace(make_plan(3), links=(Link("n0:int1", "n1:int0", 1), Link("n1:int2", "n2:int1", 1)))
    readings = {
        "n0": counted(ports={"int1": (0, SENT)}),
        "n1": replace(nothing, ports={"int0": (0, 0), "int2": (0, 0)}),
        "n2": counted(ports={"int1": (0, 2 * SENT)}),
    }
    found = faults(pairs(a=Pair(0, 1, SENT, 0)), readings=readings, plan=plan)
    (text,) = [fault.text for fault in found if fault.kind == "nothing arrived"]
    assert text == (
        "nothing arrived from port 0 to port 1 (3,000,000 sent): is the data plane of n1 up? "
        "[n1 counted 0 of the 6,000,000 packets put on its external ports; "
        "3,000,000 of 3,000,000 packets sent on n0:int1 did not arrive at n1:int0]"
    )


def test_what_the_tester_could_not_send_is_no_loss() -> None:
    lost = pairs(a=Pair(0, 2, SENT, SENT - 9), b=Pair(0, 1, SENT, SENT - 1))
    (found,) = faults(lost, unsent={0: 10})
    assert found.kind == "unsent"
    assert found.text == "unsent 10 of 6,000,000 at port 0: refused by the tester's own device"
    kinds = {fault.kind for fault in faults(lost, unsent={0: 4})}
    assert kinds == {"unsent", "loss"}


def test_nothing_sent_is_a_failure() -> None:
    (found,) = faults((Pair(0, 1, 0, 0),))
    assert found.kind == "nothing tested"


def test_counters_must_agree_with_what_was_sent() -> None:
    readings = {"n0": counted(), "n1": counted(), "n2": counted()}
    readings["n1"] = counted(forwarded={"local": 0, "direct": 2 * SENT - 3, "phase1": 0})
    (found,) = faults(pairs(), readings=readings)
    assert found.kind == "counters"
    assert found.text == (
        "counters of n1 do not agree: 6,000,000 sent into it, 5,999,997 forwarded (local 0, direct 5,999,997, phase1 0)"
    )
    readings["n1"] = counted(paths={(0, None): 1})
    assert "its paths add up to 1 of 6,000,000" in texts(pairs(), readings=readings)[0]


def test_many_faults_of_a_kind_are_summed_up() -> None:
    many = tuple(Pair(0, 1, SENT, SENT - 1) for _ in range(20))
    found = texts(many)
    assert len(found) == 13
    assert found[-1] == "loss: 8 more packets on 8 more pairs of ports"


def raw(direct: int, two_hops: int) -> dict[str, Any]:
    core = {
        "received": {"external": direct + two_hops, "internal": 5},
        "forwarded": {"local": 2, "direct": direct, "phase1": two_hops, "phase2": 0, "egress": 5},
        "punted": {"ttl": 1},
        "dropped": {"no_route": 3},
        "bytes": 1,
    }
    return {
        "server": "n0",
        "cores": {"0": core},
        "total": core,
        "paths": [
            {"to": 2, "via": None, "packets": direct, "bytes": 1},
            {"to": 2, "via": 1, "packets": two_hops, "bytes": 1},
        ],
        "ports": {"ext0": {"rx_packets": direct, "rx_bytes": 0, "tx_packets": 5, "tx_bytes": 0}},
    }


def test_a_phase_is_the_difference_of_two_readings() -> None:
    phase = difference(parse(raw(100, 10)), parse(raw(400, 40)))
    assert phase.entered == 330
    assert phase.paths == {(2, None): 300, (2, 1): 30}
    assert phase.ports == {"ext0": (300, 0)}
    assert phase.dropped == {"no_route": 0}
    assert difference(parse(raw(1, 1)), parse({"error": "gone"})).error == "gone"
    # A path that was not taken before is not in the first reading.
    first = {**raw(100, 10), "paths": []}
    assert difference(parse(first), parse(raw(100, 10))).paths == {(2, None): 100, (2, 1): 10}


def test_spread_names_servers() -> None:
    phase = {"n0": replace(difference(parse(raw(0, 0)), parse(raw(300, 30))), forwarded={"local": 4})}
    assert spread(make_plan(3), phase) == (
        PathCount("n0", "n0", None, 4),
        PathCount("n0", "n2", None, 300),
        PathCount("n0", "n2", "n1", 30),
    )
