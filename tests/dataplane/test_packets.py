"""Every kind of frame that may arrive: verdict, bytes afterwards and the one counter that moves (RFC 1812)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_PASS, XDP_REDIRECT
from tests.dataplane.frames import ethernet, fabric, forwarded, ipv4
from tests.dataplane.router import NEIGHBOR, Router, route

pytestmark = pytest.mark.root

LOCAL, OTHER = "198.18.0.9", "198.18.1.9"
NEIGHBOR_MAC = bytes.fromhex(NEIGHBOR.replace(":", ""))
GROUP, EVERYBODY, STRANGER = b"\x01\x00\x5e\0\0\1", b"\xff" * 6, b"\x02\xaa\xaa\xaa\xaa\xaa"


@dataclasses.dataclass(frozen=True)
class Case:
    """``build`` makes the frame for the device's MAC; ``counter`` is the only one that moves besides received."""

    name: str
    build: Callable[[bytes], bytes]
    verdict: int
    counter: str


def ip(counter: str, verdict: int, destination: str = LOCAL, **fields: object) -> Callable[[str], Case]:
    def make(name: str) -> Case:
        return Case(name, lambda mac: ethernet(mac, ipv4(destination, **fields)), verdict, counter)  # type: ignore[arg-type]

    return make


def raw(counter: str, verdict: int, build: Callable[[bytes], bytes]) -> Callable[[str], Case]:
    return lambda name: Case(name, build, verdict, counter)


MAKERS = {
    "forwarded to an own port": ip("forwarded.local", XDP_REDIRECT),
    "forwarded to another server": ip("forwarded.direct", XDP_REDIRECT, OTHER),
    "checksum with carry": ip("forwarded.local", XDP_REDIRECT, ttl=1 + 1, identification=0xFFFF),
    "time to live 2": ip("forwarded.local", XDP_REDIRECT, ttl=2),
    "time to live 255": ip("forwarded.local", XDP_REDIRECT, ttl=255),
    "time to live 1": ip("punted.ttl", XDP_PASS, ttl=1),
    "time to live 0": ip("punted.ttl", XDP_PASS, ttl=0),
    "time to live 1 for another server's port": ip("punted.ttl", XDP_PASS, OTHER, ttl=1),
    "time to live 1 for the router itself": ip("punted.local_delivery", XDP_PASS, "198.18.0.1", ttl=1),
    "for the router itself": ip("punted.local_delivery", XDP_PASS, "198.18.0.1"),
    "no route": ip("punted.no_route", XDP_PASS, "203.0.113.1"),
    "bad checksum": ip("dropped.checksum", XDP_DROP, spoil=1),
    "checksum off by a bit in the upper byte": ip("dropped.checksum", XDP_DROP, spoil=0x8000),
    "options": ip("punted.options", XDP_PASS, options=b"\x94\x04\0\0"),
    "header longer than the frame": ip("dropped.header_length", XDP_DROP, words=15, payload=b""),
    "header of four words": ip("dropped.header_length", XDP_DROP, words=4),
    "version 6 in an IPv4 frame": ip("dropped.version", XDP_DROP, version=6),
    "version 0": ip("dropped.version", XDP_DROP, version=0),
    "total length below the header's": ip("dropped.total_length", XDP_DROP, length=19),
    "total length past the frame's end": ip("dropped.total_length", XDP_DROP, length=47),
    "options with total length past the end": ip("dropped.total_length", XDP_DROP, options=bytes(4), length=1400),
    "padded": raw(
        "forwarded.local", XDP_REDIRECT, lambda mac: ethernet(mac, ipv4(LOCAL, payload=bytes(4))) + bytes(22)
    ),
    "smallest datagram": ip("forwarded.local", XDP_REDIRECT, payload=b""),
    "first fragment": ip("forwarded.local", XDP_REDIRECT, fragment=0x2000),
    "later fragment": ip("forwarded.local", XDP_REDIRECT, fragment=0x00B9),
    "fragment to another server": ip("forwarded.direct", XDP_REDIRECT, OTHER, fragment=0x20B9),
    "don't fragment": ip("forwarded.local", XDP_REDIRECT, fragment=0x4000),
    "largest": ip("forwarded.local", XDP_REDIRECT, payload=bytes(1480)),
    "larger than the output's MTU": ip("punted.too_big", XDP_PASS, payload=bytes(1481)),
    "protocol without ports": ip("forwarded.direct", XDP_REDIRECT, OTHER, protocol=47),
    "UDP cut before its ports": ip("forwarded.direct", XDP_REDIRECT, OTHER, payload=b"\x30\x39"),
    "source 0/8": ip("dropped.martian_source", XDP_DROP, source="0.1.2.3"),
    "source 127/8": ip("dropped.martian_source", XDP_DROP, source="127.0.0.1"),
    "source multicast": ip("dropped.martian_source", XDP_DROP, source="224.0.0.1"),
    "source class E": ip("dropped.martian_source", XDP_DROP, source="240.0.0.1"),
    "source broadcast": ip("dropped.martian_source", XDP_DROP, source="255.255.255.255"),
    "source 223.255.255.255": ip("forwarded.local", XDP_REDIRECT, source="223.255.255.255"),
    "source 127/8 with options": ip("dropped.martian_source", XDP_DROP, source="127.0.0.1", options=b"\x94\x04\0\0"),
    "source of the router": ip("dropped.own_source", XDP_DROP, source="198.18.0.1"),
    "source of the router on another server": ip("dropped.own_source", XDP_DROP, source="198.18.3.1"),
    "source of the router with options": ip(
        "dropped.own_source", XDP_DROP, source="198.18.1.1", options=b"\x94\x04\0\0"
    ),
    "source of the router to the router": ip("dropped.own_source", XDP_DROP, "198.18.0.1", source="198.18.1.1"),
    "source beside the router's": ip("forwarded.local", XDP_REDIRECT, source="198.18.0.3"),
    "destination 0/8": ip("dropped.martian_destination", XDP_DROP, "0.1.2.3"),
    "destination 127/8": ip("dropped.martian_destination", XDP_DROP, "127.0.0.1"),
    "destination class E": ip("dropped.martian_destination", XDP_DROP, "240.0.0.1"),
    "destination multicast": ip("punted.multicast", XDP_PASS, "224.0.0.5"),
    "destination broadcast": ip("punted.broadcast", XDP_PASS, "255.255.255.255"),
    "ARP broadcast": raw("punted.arp", XDP_PASS, lambda _: ethernet(EVERYBODY, bytes(46), protocol=0x0806)),
    "IPv4 to everybody's MAC": raw("punted.broadcast", XDP_PASS, lambda _: ethernet(EVERYBODY, ipv4("198.18.0.255"))),
    "ARP reply": raw("punted.arp", XDP_PASS, lambda mac: ethernet(mac, bytes(46), protocol=0x0806)),
    "IPv6": raw("punted.ipv6", XDP_PASS, lambda mac: ethernet(mac, bytes(46), protocol=0x86DD)),
    "VLAN": raw("punted.vlan", XDP_PASS, lambda mac: ethernet(mac, b"\0\7\x08\0" + ipv4(LOCAL), protocol=0x8100)),
    "QinQ": raw("punted.vlan", XDP_PASS, lambda mac: ethernet(mac, bytes(46), protocol=0x88A8)),
    "LLDP": raw("punted.multicast", XDP_PASS, lambda _: ethernet(GROUP, bytes(46), protocol=0x88CC)),
    "802.3 length": raw("punted.other_protocol", XDP_PASS, lambda mac: ethernet(mac, bytes(46), protocol=46)),
    "IPv4 to a group's MAC": raw("punted.multicast", XDP_PASS, lambda _: ethernet(GROUP, ipv4("224.0.0.5"))),
    "somebody else's": raw("dropped.other_host", XDP_DROP, lambda _: ethernet(STRANGER, ipv4(LOCAL))),
    "to a fabric MAC": raw("dropped.fabric_mac", XDP_DROP, lambda _: ethernet(fabric(1, 1), ipv4(OTHER))),
    "to the other fabric MAC": raw(
        "dropped.fabric_mac", XDP_DROP, lambda _: ethernet(b"\x02\x56" + bytes(4), ipv4(OTHER))
    ),
    "from a fabric MAC": raw(
        "dropped.fabric_mac", XDP_DROP, lambda mac: ethernet(mac, ipv4(OTHER), source=fabric(1, 1))
    ),
    "ARP from the other fabric MAC": raw(
        "dropped.fabric_mac",
        XDP_DROP,
        lambda _: ethernet(EVERYBODY, bytes(46), source=b"\x02\x56" + bytes(4), protocol=0x0806),
    ),
    "Ethernet header only": raw("dropped.short", XDP_DROP, lambda mac: ethernet(mac, b"")),
    "cut in the IP header": raw("dropped.short", XDP_DROP, lambda mac: ethernet(mac, ipv4(LOCAL)[:19])),
}
CASES = [make(name) for name, make in MAKERS.items()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_external_frame(case: Case, shared_router: Router) -> None:
    router = shared_router
    router.next_tick()
    mac, before = router.mac("ext0"), router.counted()
    frame = case.build(mac)
    ran = router.receive("ext0", frame)
    moved = {key: number - before.get(key, 0) for key, number in router.counted().items() if number != before.get(key)}
    assert (ran.verdict, moved) == (case.verdict, {"received.external": 1, case.counter: 1})
    expected = frame
    if case.counter == "forwarded.local":
        expected = forwarded(frame, NEIGHBOR_MAC, mac)
    elif case.counter == "forwarded.direct":
        expected = forwarded(frame, fabric(1, 1), router.mac("int1"))
    assert ran.frame == expected


def test_counts_bytes_and_ports(make_router: Callable[..., Router]) -> None:
    router = make_router()
    frame = ethernet(router.mac("ext0"), ipv4(OTHER))
    router.receive("ext0", frame)
    router.receive("ext0", frame[:40])
    counters = router.plane.counters()
    assert counters["ports"]["ext0"] == {"rx_packets": 2, "rx_bytes": 60 + 40, "tx_packets": 0, "tx_bytes": 0}
    assert counters["ports"]["int1"] == {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 1, "tx_bytes": 60}
    assert counters["total"]["bytes"] == 60
    assert counters["paths"] == [{"to": 1, "via": None, "packets": 1, "bytes": 60}]
    assert counters["cores"]["0"] == counters["total"]


def test_for_another_servers_kernel(make_router: Callable[..., Router]) -> None:
    """Delivered by the server that owns the address: the time to live stays, 1 too."""
    router = make_router()
    frame = ethernet(router.mac("ext0"), ipv4("198.18.1.1", ttl=1))
    ran = router.receive("ext0", frame)
    assert ran.verdict == XDP_REDIRECT
    assert ran.frame == fabric(1, 0) + router.mac("int1") + frame[12:]


# The test's devices are veth, where a rewritten frame enters the kernel by a new skb.
DELIVERED = XDP_REDIRECT


class TestInternal:
    """Frames from other servers: by destination MAC alone."""

    def test_leaves_by_own_port(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        frame = ethernet(fabric(0, 1), bytes(50))  # not even IP: it is not looked at
        ran = router.receive("int1", frame)
        assert (ran.verdict, ran.frame) == (XDP_REDIRECT, NEIGHBOR_MAC + router.mac("ext0") + frame[12:])
        assert router.counted() == {"received.internal": 1, "forwarded.egress": 1}

    def test_goes_on_to_the_owner(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        frame = ethernet(fabric(2, 7), ipv4("198.18.2.9"))
        ran = router.receive("int1", frame)
        assert (ran.verdict, ran.frame) == (XDP_REDIRECT, frame[:6] + router.mac("int2") + frame[12:])
        assert router.counted() == {"received.internal": 1, "forwarded.phase2": 1}

    def test_to_this_kernel(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        frame = ethernet(fabric(0, 0), ipv4("198.18.0.1"))
        ran = router.receive("int1", frame)
        assert (ran.verdict, ran.frame) == (DELIVERED, router.mac("int1") + frame[6:])
        assert router.counted() == {"received.internal": 1, "punted.local_delivery": 1}

    def test_unresolved_neighbour(self, make_router: Callable[..., Router]) -> None:
        router = make_router(adjacencies=[{"port": 0, "index": 2, "mac": NEIGHBOR}])
        ran = router.receive("int1", ethernet(fabric(0, 1), ipv4("198.18.0.9")))
        assert (ran.verdict, ran.frame[:6]) == (DELIVERED, router.mac("int1"))
        assert router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.0.9"))).verdict == XDP_PASS
        assert router.counted() == {"received.internal": 1, "received.external": 1, "punted.unresolved": 2}

    def test_too_big_for_the_port(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        ran = router.receive("int1", ethernet(fabric(0, 1), ipv4("198.18.0.9", payload=bytes(1481))))
        assert (ran.verdict, ran.frame[:6]) == (DELIVERED, router.mac("int1"))
        assert router.counted() == {"received.internal": 1, "punted.too_big": 1}

    @pytest.mark.parametrize(
        ("mac", "verdict", "counter"),
        [
            (fabric(9, 1), XDP_DROP, "dropped.no_port"),
            (fabric(0, 2), XDP_DROP, "dropped.no_adjacency"),
            (fabric(0xFFFF, 1), XDP_DROP, "dropped.no_port"),
            (EVERYBODY, XDP_PASS, "punted.not_fabric"),
            (GROUP, XDP_PASS, "punted.not_fabric"),
        ],
    )
    def test_odd(self, make_router: Callable[..., Router], mac: bytes, verdict: int, counter: str) -> None:
        router = make_router()
        frame = ethernet(mac, bytes(46))
        ran = router.receive("int1", frame)
        assert (ran.verdict, ran.frame) == (verdict, frame)
        assert router.counted() == {"received.internal": 1, counter: 1}

    def test_down_link(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        router.plane.set_alive(2, alive=False)
        assert router.receive("int1", ethernet(fabric(2, 1), bytes(46))).verdict == XDP_DROP
        assert router.counted() == {"received.internal": 1, "dropped.no_path": 1}


def test_longest_prefix_wins(make_router: Callable[..., Router]) -> None:
    routes = [
        route("0.0.0.0/0", 1, 1),
        route("198.18.0.0/24", 0, 1),
        route("198.18.0.77/32", 2, 1),
        route("10.0.0.0/8", 3, 1),
    ]
    router = make_router(routes=routes)
    for destination, mac in (
        ("198.18.0.76", NEIGHBOR_MAC),
        ("198.18.0.77", fabric(2, 1)),
        ("198.18.0.78", NEIGHBOR_MAC),
        ("10.255.255.255", fabric(3, 1)),
        ("11.0.0.0", fabric(1, 1)),
    ):
        assert router.receive("ext0", ethernet(router.mac("ext0"), ipv4(destination))).frame[:6] == mac
