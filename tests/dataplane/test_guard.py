"""What does not reach the kernel, and who is not listened to: rates of punts, sources, strangers on a cable."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.dataplane.xdp.guard import OWN_BUCKET, PUNTED, own_addresses
from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_PASS, XDP_REDIRECT
from tests.dataplane.frames import ethernet, fabric, ipv4
from tests.dataplane.router import Router, route

ROUTER, LOCAL, OTHER = "198.18.0.1", "198.18.0.9", "198.18.1.9"
EVERYBODY = b"\xff" * 6
RATE, BURST = 1000, 100
"""Of the tests' punts: packets a second, and those that a full bucket lets through at once."""


def tcp(flags: int, source: int = 40000, port: int = 22) -> dict[str, object]:
    return {"protocol": 6, "payload": struct.pack(">HHIIBBHHH", source, port, 1, 1, 0x50, flags, 1000, 0, 0)}


def udp(port: int) -> dict[str, object]:
    return {"protocol": 17, "payload": struct.pack(">HHHH", 49152, port, 32, 0) + bytes(24)}


def make_frames(mac: bytes) -> dict[str, bytes]:
    """One frame of each kind that has buckets of its own."""
    return {
        "ttl": ethernet(mac, ipv4(LOCAL, ttl=1)),
        "options": ethernet(mac, ipv4(LOCAL, options=b"\x94\x04\0\0")),
        "arp": ethernet(EVERYBODY, bytes(46), protocol=0x0806),
        "no_route": ethernet(mac, ipv4("203.0.113.1")),
        "unresolved": ethernet(mac, ipv4("198.18.0.200")),
        "session": ethernet(mac, ipv4(ROUTER, **tcp(0x10))),  # type: ignore[arg-type]
        "opening": ethernet(mac, ipv4(ROUTER, **tcp(0x02))),  # type: ignore[arg-type]
        "ping": ethernet(mac, ipv4(ROUTER, protocol=1)),
        "bgp": ethernet(mac, ipv4(ROUTER, **tcp(0x18, port=179))),  # type: ignore[arg-type]
        "bfd": ethernet(mac, ipv4(ROUTER, ttl=255, **udp(3784))),  # type: ignore[arg-type]
        "ospf": ethernet(mac, ipv4(ROUTER, ttl=1, protocol=89, payload=bytes(44))),
        "datagram": ethernet(mac, ipv4(ROUTER)),
        "fragment": ethernet(mac, ipv4(ROUTER, fragment=0x2001, **tcp(0x10))),  # type: ignore[arg-type]
    }


@pytest.fixture
def router(make_router: Callable[..., Router]) -> Router:
    routes = [route("198.18.0.0/24", 0, 0), route("198.18.0.9/32", 0, 1), route("198.18.0.1/32", 0, 0)]
    routes += [route("198.18.1.0/24", 1, 1), route("198.18.2.0/24", 2, 1)]
    made = make_router(routes=routes, punts=dict.fromkeys(PUNTED, RATE))
    made.set_tick(1_000_000)
    return made


@pytest.mark.root
def test_a_flood_takes_only_its_own_bucket(router: Router) -> None:
    frames = make_frames(router.mac("ext0"))
    floods = ("ttl", "options", "arp", "no_route", "unresolved", "session", "opening", "ping", "datagram")
    for flood in (*floods, "bgp", "bfd", "ospf"):
        router.next_tick()
        verdicts = [router.receive("ext0", frames[flood]).verdict for _ in range(BURST + 20)]
        assert verdicts == [XDP_PASS] * BURST + [XDP_DROP] * 20, flood
        others = {name: router.receive("ext0", frame).verdict for name, frame in frames.items() if name != flood}
        # A fragment cannot be told from a datagram.
        assert {name for name, verdict in others.items() if verdict != XDP_PASS} == (
            {"fragment"} if flood == "datagram" else set()
        )


@pytest.mark.root
@pytest.mark.parametrize(("ttl", "port"), [(254, 3784), (255, 3786), (255, 53)])
def test_bfd_from_afar_is_a_datagram_like_others(router: Router, ttl: int, port: int) -> None:
    mac = router.mac("ext0")
    frame = ethernet(mac, ipv4(ROUTER, ttl=ttl, **udp(port)))  # type: ignore[arg-type]
    for _ in range(BURST):
        router.receive("ext0", frame)
    frames = make_frames(mac)
    assert router.receive("ext0", frames["datagram"]).verdict == XDP_DROP
    assert router.receive("ext0", frames["bfd"]).verdict == XDP_PASS
    answer = ethernet(mac, ipv4(ROUTER, **tcp(0x10, source=179, port=40000)))  # type: ignore[arg-type]
    assert [router.receive("ext0", each).verdict for each in (frames["bgp"], answer)] == [XDP_PASS] * 2


@pytest.mark.root
def test_what_is_beyond_the_rate_is_counted_by_reason(router: Router) -> None:
    frames = make_frames(router.mac("ext0"))
    for _ in range(BURST + 3):
        router.receive("ext0", frames["ttl"])
        router.receive("ext0", frames["ping"])
    counted = router.counted()
    assert counted == {
        "received.external": 2 * BURST + 6,
        "punted.ttl": BURST,
        "dropped.policed_ttl": 3,
        "punted.local_delivery": BURST,
        "dropped.policed_local_delivery": 3,
    }


@pytest.mark.root
def test_the_rate_is_per_second(router: Router) -> None:
    frame = make_frames(router.mac("ext0"))["ttl"]
    for _ in range(BURST):
        router.receive("ext0", frame)
    passed = 0
    for tick in range(1, 201):
        router.set_tick(1_000_000 + 1000 + tick)
        passed += sum(router.receive("ext0", frame).verdict == XDP_PASS for _ in range(3))
    # The bucket was full a second later, and gets one packet a tick.
    assert passed == BURST + 199


@pytest.mark.root
def test_a_rate_of_zero_lets_nothing_through(make_router: Callable[..., Router]) -> None:
    router = make_router(punts={**dict.fromkeys(PUNTED, RATE), "ipv6": 0})
    frame = ethernet(router.mac("ext0"), bytes(46), protocol=0x86DD)
    assert router.receive("ext0", frame).verdict == XDP_DROP
    assert router.counted() == {"received.external": 1, "dropped.policed_ipv6": 1}


@pytest.mark.root
def test_a_small_rate_still_has_a_burst(make_router: Callable[..., Router]) -> None:
    router = make_router(punts={**dict.fromkeys(PUNTED, RATE), "ttl": 1})
    router.set_tick(1_000_000)
    frame = make_frames(router.mac("ext0"))["ttl"]
    assert [router.receive("ext0", frame).verdict for _ in range(17)] == [XDP_PASS] * 16 + [XDP_DROP]


@pytest.mark.root
def test_ports_have_buckets_of_their_own(router: Router) -> None:
    """A flood that comes over one cable leaves what comes over another alone, and the external port's."""
    frame = ethernet(fabric(0, 0), ipv4(ROUTER))
    verdicts = [router.receive("int1", frame).verdict for _ in range(BURST + 1)]
    assert verdicts == [XDP_REDIRECT] * BURST + [XDP_DROP]
    assert router.receive("int2", frame).verdict == XDP_REDIRECT
    assert router.receive("ext0", make_frames(router.mac("ext0"))["datagram"]).verdict == XDP_PASS


@pytest.mark.root
def test_what_is_not_for_the_router_itself_is_told_apart(router: Router) -> None:
    mac = router.mac("ext0")
    router.receive("ext0", ethernet(mac, ipv4(ROUTER)))
    router.receive("ext0", ethernet(mac, ipv4("198.18.0.200")))
    router.receive("int1", ethernet(fabric(0, 0), ipv4(ROUTER)))
    router.receive("int1", ethernet(fabric(0, 0), ipv4("198.18.0.200")))
    counted = router.counted()
    assert (counted["punted.local_delivery"], counted["punted.unresolved"]) == (2, 2)
    assert router.receive("int1", ethernet(fabric(0, 0), bytes(19))).verdict == XDP_DROP
    assert router.counted()["dropped.short"] == 1


SOURCES = [
    # source, loose, strict
    ("198.18.0.9", True, True),  # a neighbour
    ("198.18.0.77", True, True),  # on the port's network, its MAC unknown
    ("198.18.1.9", True, False),  # behind another server's port
    ("203.0.113.7", False, False),  # nowhere
]


@pytest.mark.root
@pytest.mark.parametrize("mode", ["off", "loose", "strict"])
def test_reverse_path(make_router: Callable[..., Router], mode: str) -> None:
    routes = [route("198.18.0.0/24", 0, 0), route("198.18.0.9/32", 0, 1), route("198.18.1.0/24", 1, 1)]
    router = make_router(routes=routes, urpf={"ext0": mode})
    mac = router.mac("ext0")
    for source, loose, strict in SOURCES:
        passes = {"off": True, "loose": loose, "strict": strict}[mode]
        for options in (b"", b"\x94\x04\0\0"):
            ran = router.receive("ext0", ethernet(mac, ipv4(OTHER, source=source, options=options)))
            assert (ran.verdict != XDP_DROP) is passes, source
    refused = sum(2 for _, loose, strict in SOURCES if not {"off": True, "loose": loose, "strict": strict}[mode])
    assert router.counted().get("dropped.reverse_path", 0) == refused


@pytest.mark.root
def test_strict_tells_ports_of_one_server_apart(make_router: Callable[..., Router]) -> None:
    ports = [{"name": f"ext{port}", "kind": "external", "id": port, "rate_bps": 10**9} for port in (0, 1)]
    macs = [{"port": port, "index": 1, "mac": "02:4e:00:00:00:02"} for port in (0, 1)]
    router = make_router(
        servers=1, ports=ports, owners=[0, 0], next_hop={}, intermediates=[], adjacencies=macs,
        routes=[route("198.18.0.0/24", 0, 1), route("198.18.1.0/24", 1, 1)], urpf={"ext0": "strict", "ext1": "strict"},
    )  # fmt: skip
    for port, source, passes in (
        ("ext0", "198.18.0.9", True),
        ("ext0", "198.18.1.9", False),
        ("ext1", "198.18.1.9", True),
    ):
        ran = router.receive(port, ethernet(router.mac(port), ipv4("198.18.1.7", source=source)))
        assert (ran.verdict == XDP_REDIRECT) is passes, (port, source)


class TestNeighbor:
    """The far end of a cable is who sent the first fabric frame since it came up."""

    FIRST, SECOND = b"\x02\xaa\0\0\0\1", b"\x02\xaa\0\0\0\2"

    @pytest.mark.root
    def test_a_stranger_is_refused(self, router: Router) -> None:
        mine, strange = (ethernet(fabric(0, 1), bytes(46), source=mac) for mac in (self.FIRST, self.SECOND))
        assert router.receive("int1", mine).verdict == XDP_REDIRECT
        assert router.receive("int1", strange).verdict == XDP_DROP
        assert router.receive("int1", mine).verdict == XDP_REDIRECT
        assert router.counted()["dropped.unknown_neighbor"] == 1
        # Each cable has its own.
        assert router.receive("int2", strange).verdict == XDP_REDIRECT

    @pytest.mark.root
    def test_other_frames_teach_nothing(self, router: Router) -> None:
        """A bridge between two servers speaks first, of its spanning tree."""
        assert router.receive("int1", ethernet(EVERYBODY, bytes(46), source=self.SECOND)).verdict == XDP_PASS
        assert router.receive("int1", ethernet(fabric(0, 1), bytes(46), source=self.FIRST)).verdict == XDP_REDIRECT
        assert router.receive("int1", ethernet(EVERYBODY, bytes(46), source=self.SECOND)).verdict == XDP_DROP

    @pytest.mark.root
    def test_a_cable_that_was_down_may_lead_elsewhere(self, router: Router) -> None:
        frames = [ethernet(fabric(0, 1), bytes(46), source=mac) for mac in (self.FIRST, self.SECOND)]
        router.receive("int1", frames[0])
        router.receive("int2", frames[0])
        router.plane.set_alive(1, alive=False)
        router.plane.set_alive(1, alive=True)
        assert router.receive("int1", frames[1]).verdict == XDP_REDIRECT
        assert router.receive("int2", frames[1]).verdict == XDP_DROP

    @pytest.mark.root
    def test_an_apply_that_changes_something_asks_again(self, router: Router) -> None:
        frames = [ethernet(fabric(0, 1), bytes(46), source=mac) for mac in (self.FIRST, self.SECOND)]
        router.receive("int1", frames[0])
        router.reopen(flowlet_timeout_s=0.2)
        router.plane.apply()
        assert router.receive("int1", frames[1]).verdict == XDP_REDIRECT


def holds(addresses: list[int]) -> None:
    """Each address is found in the bucket where the program looks for it, and others are not."""
    table = own_addresses(str(IPv4Address(value)) for value in addresses)
    words = struct.unpack(f"<{len(table.table) // 4}I", table.table)

    def found(value: int) -> bool:
        at = OWN_BUCKET * (value * table.factor % (1 << 32) >> table.shift)
        return value in words[at : at + OWN_BUCKET]

    assert all(found(value) for value in addresses)
    others = {value ^ 1 << bit for value in addresses[:50] for bit in range(32)} - {*addresses, 0}
    assert not any(found(value) for value in others)


@given(st.lists(st.integers(1, 2**32 - 1), unique=True, max_size=300))
def test_own_addresses_are_found_and_no_others(addresses: list[int]) -> None:
    holds(addresses)


def test_the_most_addresses_of_a_router_fit() -> None:
    holds([(198 << 24 | 18 << 16) + 16 * port + 1 for port in range(4096)])
