"""Probes of the internal cables: what the programs send back, note, and no longer choose."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from tests.dataplane.frames import checksum, ethernet, fabric, ipv4
from tests.dataplane.router import Router

pytestmark = pytest.mark.root

PROBE, ANSWER, FAR = b"\x02\x56\0\0\0\0", b"\x02\x56\0\0\0\1", b"\x02\x4f\0\0\0\x09"
INT1 = 1
"""The number of port int1."""
THEM = "198.18.{}.9"


def probe(server: int, cut: int = 0, *, sequence: int = 7, sent_ns: int = 0, destination: bytes = PROBE) -> bytes:
    """What ``server`` sends that cannot reach the servers whose bits are in ``cut``."""
    body = struct.pack("<HIIQ", server, sequence, 0, sent_ns) + cut.to_bytes(32, "little")
    return ethernet(destination, body, source=FAR, protocol=0x88B6)


def ways(router: Router, dest: int, count: int = 12) -> set[int | None]:
    """The first servers of new flows to ``dest``; None: dropped."""
    found: set[int | None] = set()
    macs = {router.mac(f"int{peer}"): peer for peer in range(1, 4)}
    for number in range(count):
        frame = ethernet(router.mac("ext0"), ipv4(THEM.format(dest), source=f"203.0.113.{number}"))
        ran = router.receive("ext0", frame)
        found.add(macs[ran.frame[6:12]] if ran.verdict == XDP_REDIRECT else None)
    return found


def test_a_probe_is_sent_back_as_it_came(make_router: Callable[..., Router]) -> None:
    router = make_router()
    frame = probe(1, sequence=0x01020304, sent_ns=99)
    ran = router.receive("int1", frame)
    assert ran.verdict == XDP_TX
    assert ran.frame[:14] == ANSWER + router.mac("int1") + b"\x88\xb6"
    serial = router.plane.status()["generation"]
    assert ran.frame[14:] == frame[14:20] + struct.pack("<I", serial) + frame[24:]
    assert len(ran.frame) == 64


def test_the_frame_that_is_sent_is_the_one_that_is_answered(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.plane.set_alive(2, alive=False)
    frame = router.plane.probing().frame(router.mac("int1"), 7, 12345)
    assert frame == ethernet(PROBE, probe(0, 1 << 2, sent_ns=12345)[14:], source=router.mac("int1"), protocol=0x88B6)
    assert router.receive("int3", frame).verdict == XDP_TX


def test_what_comes_by_a_cable_and_what_its_neighbour_says_is_known(make_router: Callable[..., Router]) -> None:
    """This is server 0: a neighbour's probe with bit 0 says that it hears nothing of it."""
    router = make_router()
    probing = router.plane.probing()
    assert (probing.received(INT1), probing.is_cut(1)) == ((0, 0), False)
    router.receive("int1", probe(1, cut=0b1100))
    assert (probing.received(INT1), probing.is_cut(1)) == ((0, 1), False)
    router.receive("int1", probe(1, cut=0b0001))
    assert (probing.received(INT1), probing.is_cut(1), probing.is_cut(2)) == ((0, 2), True, False)
    router.receive("int1", ethernet(fabric(0, 0), ipv4("198.18.0.2")))
    router.receive("int2", ethernet(fabric(0, 0), ipv4("198.18.0.2")))
    assert probing.received(INT1) == (1, 2)


def test_an_answer_is_noted_with_its_round_trip(make_router: Callable[..., Router]) -> None:
    router = make_router()
    probing, before = router.plane.probing(), time.monotonic_ns()
    assert (probing.answered_ns(INT1), router.plane.status()["cables"]["int1"]["round_trip_us"]) == (0, None)
    ran = router.receive("int1", probe(0, sent_ns=before, destination=ANSWER))
    assert ran.verdict == XDP_DROP
    assert before < probing.answered_ns(INT1) < time.monotonic_ns()
    cable = router.plane.status()["cables"]["int1"]
    assert cable["answered"] == 1
    assert cable["round_trip_us"] == round((probing.answered_ns(INT1) - before) / 1000, 1)
    assert probing.answered_ns(INT1 + 1) == 0


def test_probes_are_no_packets_in_any_counter(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.receive("int1", probe(1))
    router.receive("int1", probe(0, destination=ANSWER))
    assert router.counted() == {}
    assert router.plane.counters()["ports"]["int1"] == dict.fromkeys(
        ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), 0
    )
    assert router.plane.counters()["probes"]["int1"]["asked"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        probe(1)[:63],
        ethernet(PROBE, probe(1)[14:], protocol=0x88B5),
        ethernet(b"\x02\x56\0\0\0\2", probe(1)[14:], protocol=0x88B6),
    ],
    ids=["cut", "another EtherType", "another address"],
)
def test_what_only_looks_like_one_is_for_the_kernel(make_router: Callable[..., Router], frame: bytes) -> None:
    router = make_router()
    assert router.receive("int1", frame).verdict == XDP_PASS
    assert router.counted() == {"received.internal": 1, "punted.not_fabric": 1}


def test_probes_of_strangers_count_for_nothing(make_router: Callable[..., Router]) -> None:
    """On a cable whose far end is known, and on external ports."""
    router = make_router()
    router.receive("int1", ethernet(fabric(0, 1), ipv4("198.18.0.9"), source=b"\x02\x4f\0\0\0\x01"))
    before = router.counted()
    assert router.receive("int1", probe(0, destination=ANSWER)).verdict == XDP_DROP
    assert router.receive("ext0", probe(2, 0xF)).verdict == XDP_DROP
    after = router.counted()
    assert after.get("dropped.unknown_neighbor", 0) - before.get("dropped.unknown_neighbor", 0) == 1
    assert after["dropped.fabric_mac"] == 1
    assert router.plane.probing().answered_ns(INT1) == 0


def test_silence_and_carrier_do_not_overwrite_each_other(make_router: Callable[..., Router]) -> None:
    router = make_router()
    probing = router.plane.probing()
    assert ways(router, 1) == {1}
    probing.set_silent(1, silent=True)
    router.plane.set_alive(1, alive=False)
    assert ways(router, 1) == {2, 3}
    router.plane.set_alive(1, alive=True)
    assert ways(router, 1) == {2, 3}
    assert (router.plane.status()["dead"], router.plane.status()["silent"]) == ([1], [1])
    probing.set_silent(1, silent=False)
    router.next_tick()
    assert ways(router, 1) == {1}


def test_no_path_leads_through_a_server_that_cannot_go_on(make_router: Callable[..., Router]) -> None:
    """What a neighbour says in its probes of its own cables counts at once, for what goes through it alone."""
    router = make_router()
    router.plane.probing().set_silent(3, silent=True)
    assert ways(router, 3) == {1, 2}
    router.receive("int1", probe(1, 1 << 3))
    assert ways(router, 3) == {2}
    assert ways(router, 1) == {1}
    router.receive("int2", probe(2, 1 << 3))
    assert ways(router, 3) == {None}
    router.receive("int1", probe(1))
    assert ways(router, 3) == {1}


def test_a_drained_server_is_no_intermediate_and_keeps_its_ports(make_router: Callable[..., Router]) -> None:
    router = make_router()
    frame = ethernet(router.mac("ext0"), ipv4(THEM.format(3)))
    router.plane.probing().set_silent(3, silent=True)
    first = router.receive("ext0", frame).frame[6:12]
    used, other = (1, 2) if first == router.mac("int1") else (2, 1)
    router.plane.set_drained(used, drained=True)
    assert router.plane.status()["drained"] == [used]
    assert router.plane.status()["dead"] == [3]
    assert router.receive("ext0", frame).frame[6:12] == router.mac(f"int{other}"), "its flowlet moves at once"
    assert ways(router, 3) == {other}
    assert ways(router, used) == {used}, "its own ports"
    router.plane.set_drained(used, drained=False)
    router.next_tick()
    assert ways(router, 3) == {1, 2}


@pytest.mark.parametrize("routing", ["direct-vlb", "vlb"])
def test_all_that_is_left_out_is_left_out_together(make_router: Callable[..., Router], routing: str) -> None:
    router = make_router(routing=routing)
    router.plane.set_drained(1, drained=True)
    router.plane.set_drained(2, drained=True)
    assert ways(router, 3) == {3}
    router.plane.probing().set_silent(3, silent=True)
    assert ways(router, 3) == {None}


def test_a_flow_leaves_a_path_that_died_behind_its_first_server(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.plane.probing().set_silent(3, silent=True)
    frame = ethernet(router.mac("ext0"), ipv4(THEM.format(3)))
    first = router.receive("ext0", frame).frame[6:12]
    port = next(name for name in ("int1", "int2") if router.mac(name) == first)
    router.receive(port, probe(int(port[3:]), 1 << 3))
    assert router.receive("ext0", frame).frame[6:12] not in (first, router.mac("int3"))


def test_a_probe_of_a_server_that_cannot_be_is_answered_and_forgotten(make_router: Callable[..., Router]) -> None:
    router = make_router()
    before = bytes(router.plane._pins.load().memory("control")[64:])
    assert router.receive("int1", probe(0xFFFF, 0xFFFFFFFF)).verdict == XDP_TX
    after = bytes(router.plane._pins.load().memory("control")[64:])
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 2  # its counter, and nothing else


def alone(router: Router) -> None:
    """Nothing leads to server 3 any more."""
    router.plane.probing().set_silent(3, silent=True)
    router.receive("int1", probe(1, 1 << 3))
    router.receive("int2", probe(2, 1 << 3))


def icmp_of(packet: bytes) -> tuple[int, int, bytes]:
    """Type, code and quote, its checksum checked."""
    assert checksum(packet) == 0
    kind, code, _, unused = struct.unpack_from(">BBHI", packet)
    assert unused == 0
    return kind, code, packet[8:]


UDP = struct.pack(">HHHH", 1000, 2000, 8, 0)


@pytest.mark.parametrize("size", [0, 4, 18, 1400])
def test_the_sender_is_told_that_a_server_is_gone(make_router: Callable[..., Router], size: int) -> None:
    router = make_router(answer_from={"ext0": "198.18.0.1"})
    alone(router)
    frame = ethernet(router.mac("ext0"), ipv4(THEM.format(3), source="203.0.113.7", payload=UDP + bytes(size), ttl=9))
    before = router.counted()
    ran = router.receive("ext0", frame)
    assert ran.verdict == XDP_REDIRECT
    assert ran.frame[:14] == frame[6:12] + router.mac("ext0") + b"\x08\0"
    head = ran.frame[14:34]
    assert checksum(head) == 0
    assert struct.unpack(">BBHHHBB", head[:10]) == (0x45, 0xC0, 56, 0, 0x4000, 64, 1)
    assert head[12:] == bytes([198, 18, 0, 1, 203, 0, 113, 7])
    kind, code, quote = icmp_of(ran.frame[34:])
    assert (kind, code) == (3, 1)
    assert checksum(quote[:20]) == 0
    assert (quote[8], quote[:8], quote[12:]) == (8, frame[14:22], frame[26:42])
    moved = {key: number - before.get(key, 0) for key, number in router.counted().items()}
    assert {key: number for key, number in moved.items() if number} == {
        "received.external": 1,
        "dropped.unreachable": 1,
    }
    assert router.plane.counters()["ports"]["ext0"]["tx_packets"] == 1


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(THEM.format(3), protocol=1, payload=b"\x03\x01" + bytes(30)),
        ipv4(THEM.format(3), protocol=1, payload=b"\0\0" + bytes(30)),
        ipv4(THEM.format(3), fragment=0x00B9),
        ipv4(THEM.format(3), payload=bytes(7)),
    ],
    ids=["an ICMP error", "an echo reply", "a later fragment", "too short to quote"],
)
def test_what_is_not_answered_is_dropped(make_router: Callable[..., Router], packet: bytes) -> None:
    router = make_router(answer_from={"ext0": "198.18.0.1"})
    alone(router)
    assert router.receive("ext0", ethernet(router.mac("ext0"), packet)).verdict == XDP_DROP
    assert router.counted()["dropped.no_path"] == 1


@pytest.mark.parametrize(
    "packet",
    [ipv4(THEM.format(3), protocol=1, payload=b"\x08\0" + bytes(30)), ipv4(THEM.format(3), fragment=0x2000)],
    ids=["an echo request", "a first fragment"],
)
def test_what_is_answered_too(make_router: Callable[..., Router], packet: bytes) -> None:
    router = make_router(answer_from={"ext0": "198.18.0.1"})
    alone(router)
    assert router.receive("ext0", ethernet(router.mac("ext0"), packet)).verdict == XDP_REDIRECT


def test_answers_have_a_rate(make_router: Callable[..., Router]) -> None:
    router = make_router(answer_from={"ext0": "198.18.0.1"}, punts=dict.fromkeys(PUNTED, 1000))
    router.set_tick(1_000_000)
    alone(router)
    frame = ethernet(router.mac("ext0"), ipv4(THEM.format(3)))
    verdicts = [router.receive("ext0", frame).verdict for _ in range(120)]
    assert verdicts == [XDP_REDIRECT] * 100 + [XDP_DROP] * 20
    assert (router.counted()["dropped.unreachable"], router.counted()["dropped.no_path"]) == (100, 20)


def test_without_an_address_nobody_is_told(make_router: Callable[..., Router]) -> None:
    router = make_router()
    alone(router)
    assert router.receive("ext0", ethernet(router.mac("ext0"), ipv4(THEM.format(3)))).verdict == XDP_DROP
    assert router.counted()["dropped.no_path"] == 1
