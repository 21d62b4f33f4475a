"""What the sender of an IPv6 packet is told when its output server is gone (RFC 4443, 2.4 and 3.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_REDIRECT
from tests.dataplane.frames import checksum, ethernet, ipv6
from tests.dataplane.router import Router, build_router, own_bpffs, own_namespace
from tests.dataplane.test_liveness import alone
from tests.dataplane.test_packets6 import OWN, routes6

pytestmark = pytest.mark.root

GONE, SENDER = "2001:db8:0:3::9", "2001:db8::2"
UDP = struct.pack(">HHHH", 1000, 2000, 8, 0)
ERROR, REPLY, ECHO = (bytes([kind, 0]) + bytes(30) for kind in (1, 129, 128))


def fragment(offset: int, following: int = 17) -> bytes:
    return struct.pack(">BBHI", following, 0, offset << 3, 7) + UDP


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """Nothing leads to server 3."""
    folder = tmp_path_factory.mktemp("unreachable6")
    with own_namespace(), own_bpffs(folder):
        addresses = [f"198.18.{port}.1" for port in range(4)] + OWN
        sources = {"answer_from6": {"ext0": OWN[0]}, "punts": dict.fromkeys(PUNTED, 1000)}
        made = build_router(folder, 4, [], routes6=routes6(), addresses=addresses, **sources)
        made.set_tick(1_000_000)
        alone(made)
        yield made
        made.plane.detach()


def moved(router: Router, frame: bytes) -> tuple[int, bytes, dict[str, int]]:
    """Verdict, frame and the counters that moved."""
    router.next_tick()
    before = router.counted()
    ran = router.receive("ext0", frame)
    after = router.counted()
    changed = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    return ran.verdict, ran.frame, changed


@pytest.mark.parametrize("size", [0, 1, 8, 18, 1179, 1184, 1192, 1400])
def test_the_sender_is_told_that_a_server_is_gone(router: Router, size: int) -> None:
    packet = ipv6(GONE, source=SENDER, payload=UDP + bytes(range(256)) * 5 + bytes(200), hop_limit=9)[: 48 + size]
    packet = packet[:4] + struct.pack(">H", len(packet) - 40) + packet[6:]
    frame = ethernet(router.mac("ext0"), packet, protocol=0x86DD)
    verdict, answer, changed = moved(router, frame)
    assert verdict == XDP_REDIRECT
    assert answer[:14] == frame[6:12] + router.mac("ext0") + b"\x86\xdd"
    head, icmp = answer[14:54], answer[54:]
    quoted = min(len(packet), 1232) // 8 * 8
    assert struct.unpack(">IHBB", head[:8]) == (0x60000000, 8 + quoted, 58, 64)
    assert head[8:] == IPv6Address(OWN[0]).packed + IPv6Address(SENDER).packed
    assert icmp[:2] + icmp[4:8] == b"\1\3\0\0\0\0"
    assert checksum(head[8:] + struct.pack(">II", len(icmp), 58) + icmp) == 0
    assert icmp[8:] == packet[:7] + b"\x08" + packet[8:quoted]
    assert changed == {"received.external": 1, "dropped.unreachable": 1}


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(GONE, next_header=58, payload=ERROR),
        ipv6(GONE, next_header=58, payload=REPLY),
        ipv6(GONE, next_header=58, payload=b""),
        ipv6(GONE, next_header=44, payload=fragment(185)),
        ipv6(GONE, next_header=44, payload=fragment(0, 58)[:8] + ERROR),
        ipv6(GONE, next_header=44, payload=b""),
        ipv6(GONE, next_header=60, payload=bytes([58, 0, 1, 4, 0, 0, 0, 0]) + ERROR),
        ipv6(GONE, next_header=43, payload=bytes([58, 0, 0, 0, 0, 0, 0, 0]) + ERROR),
    ],
    ids=[
        "an error",
        "an echo reply",
        "no type",
        "a later fragment",
        "an error in the first",
        "no header",
        "options",
        "routing",
    ],
)
def test_what_is_not_answered_is_dropped(router: Router, packet: bytes) -> None:
    frame = ethernet(router.mac("ext0"), packet, protocol=0x86DD)
    assert moved(router, frame)[::2] == (XDP_DROP, {"received.external": 1, "dropped.no_path": 1})


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(GONE, next_header=58, payload=ECHO),
        ipv6(GONE, next_header=44, payload=fragment(0)),
        ipv6(GONE, next_header=59, payload=b""),
        ipv6(GONE, next_header=50, payload=bytes(40)),
    ],
    ids=["an echo request", "a first fragment", "nothing behind the header", "ESP"],
)
def test_what_is_answered_too(router: Router, packet: bytes) -> None:
    assert moved(router, ethernet(router.mac("ext0"), packet, protocol=0x86DD))[0] == XDP_REDIRECT


def test_answers_have_a_rate(router: Router) -> None:
    frame = ethernet(router.mac("ext0"), ipv6(GONE), protocol=0x86DD)
    before = router.counted()
    router.set_tick(2_000_000)
    verdicts = [router.receive("ext0", frame).verdict for _ in range(120)]
    assert verdicts == [XDP_REDIRECT] * 100 + [XDP_DROP] * 20
    after = router.counted()
    assert [after[name] - before[name] for name in ("dropped.unreachable", "dropped.no_path")] == [100, 20]


def test_others_are_forwarded_all_the_same(router: Router) -> None:
    frame = ethernet(router.mac("ext0"), ipv6("2001:db8:0:1::9"), protocol=0x86DD)
    assert moved(router, frame)[2] == {"received.external": 1, "forwarded.direct": 1}


def test_without_an_address_nobody_is_told(router: Router) -> None:
    router.reopen(answer_from6={})
    router.plane.apply()
    frame = ethernet(router.mac("ext0"), ipv6(GONE), protocol=0x86DD)
    assert moved(router, frame)[::2] == (XDP_DROP, {"received.external": 1, "dropped.no_path": 1})
