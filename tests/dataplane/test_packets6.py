"""Every kind of IPv6 frame that may arrive: verdict, bytes afterwards and the one counter that moves (RFC 8200)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

import pytest

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_PASS, XDP_REDIRECT
from rbops.vlb.flow6 import Flow6, flow_hash6
from tests.dataplane.frames import ethernet, fabric, forwarded, forwarded6, ipv4, ipv6
from tests.dataplane.router import (
    NEIGHBOR,
    Router,
    build_router,
    default_routes,
    fib_of,
    own_bpffs,
    own_namespace,
    route6,
)
from tests.dataplane.test_packets import Case, raw

pytestmark = pytest.mark.root

LOCAL, OTHER = "2001:db8::9", "2001:db8:0:1::9"
NEIGHBOR_MAC = bytes.fromhex(NEIGHBOR.replace(":", ""))
GROUP = b"\x33\x33\0\0\0\1"
NS = b"\x87" + bytes(23)
OWN = [f"2001:db8:0:{port:x}::1" for port in range(4)]


def routes6() -> list[tuple[int, int, int]]:
    """2001:db8:0:P::/64 by port P, ::1 of each the router's own; a default route over server 3, and others."""
    subnets = [route6(f"2001:db8:0:{port:x}::/64", port, 1) for port in range(4)]
    own = [route6(f"{address}/128", port, 0) for port, address in enumerate(OWN)]
    return [*subnets, *own, route6("2001:db8:100::/40", 2, 1), route6("2001:db8::77/128", 0, 0)]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router6")
    with own_namespace(), own_bpffs(folder):
        addresses = [f"198.18.{port}.1" for port in range(4)] + OWN
        made = build_router(folder, 4, [], routes6=routes6(), addresses=addresses)
        yield made
        made.plane.detach()


def ip(counter: str, verdict: int, destination: str = LOCAL, **fields: object) -> Callable[[str], Case]:
    def make(name: str) -> Case:
        return Case(name, lambda mac: frame6(mac, ipv6(destination, **fields)), verdict, counter)  # type: ignore[arg-type]

    return make


def frame6(mac: bytes, content: bytes) -> bytes:
    return ethernet(mac, content, protocol=0x86DD)


MAKERS = {
    "forwarded to an own port": ip("forwarded.local", XDP_REDIRECT),
    "forwarded to another server": ip("forwarded.direct", XDP_REDIRECT, OTHER),
    "forwarded by a longer route": ip("forwarded.direct", XDP_REDIRECT, "2001:db8:1ff::1"),
    "traffic class and flow label": ip("forwarded.direct", XDP_REDIRECT, OTHER, label=0xFFFFF, traffic_class=0xFF),
    "hop limit 2": ip("forwarded.local", XDP_REDIRECT, hop_limit=2),
    "hop limit 255": ip("forwarded.local", XDP_REDIRECT, hop_limit=255),
    "hop limit 1": ip("punted.ttl", XDP_PASS, hop_limit=1),
    "hop limit 0": ip("punted.ttl", XDP_PASS, hop_limit=0),
    "hop limit 1 for another server's port": ip("punted.ttl", XDP_PASS, OTHER, hop_limit=1),
    "hop limit 1 for the router itself": ip("punted.local_delivery", XDP_PASS, OWN[0], hop_limit=1),
    "for the router itself": ip("punted.local_delivery", XDP_PASS, OWN[0]),
    "for a neighbour that the kernel finds": ip("punted.unresolved", XDP_PASS, "2001:db8::77"),
    "for the router on another server": ip("forwarded.direct", XDP_REDIRECT, OWN[1]),
    "no route": ip("punted.no_route", XDP_PASS, "2001:db9::1"),
    "hop-by-hop options": ip("punted.options", XDP_PASS, next_header=0, payload=b"\x11\0\1\4\0\0\0\0" + bytes(26)),
    "routing header": ip("forwarded.direct", XDP_REDIRECT, OTHER, next_header=43),
    "destination options": ip("forwarded.direct", XDP_REDIRECT, OTHER, next_header=60),
    "fragment": ip("forwarded.direct", XDP_REDIRECT, OTHER, next_header=44, payload=b"\x11\0\0\1" + bytes(30)),
    "no next header": ip("forwarded.direct", XDP_REDIRECT, OTHER, next_header=59, payload=b""),
    "version 4 in an IPv6 frame": ip("dropped.version", XDP_DROP, version=4),
    "payload past the frame's end": ip("dropped.total_length", XDP_DROP, length=27),
    "padded": raw("forwarded.local", XDP_REDIRECT, lambda mac: frame6(mac, ipv6(LOCAL, payload=bytes(2))) + bytes(9)),
    "largest": ip("forwarded.local", XDP_REDIRECT, payload=bytes(1460)),
    "larger than the output's MTU": ip("punted.too_big", XDP_PASS, payload=bytes(1461)),
    "source unspecified": ip("dropped.martian_source", XDP_DROP, source="::"),
    "source loopback": ip("dropped.martian_source", XDP_DROP, source="::1"),
    "source IPv4-mapped": ip("dropped.martian_source", XDP_DROP, source="::ffff:198.18.0.2"),
    "source NAT64": ip("forwarded.local", XDP_REDIRECT, source="64:ff9b::1.2.3.4"),
    "source multicast": ip("dropped.martian_source", XDP_DROP, source="ff02::1"),
    "source link-local to a network": ip("dropped.martian_source", XDP_DROP, source="fe80::1"),
    "source link-local to another server's": ip("dropped.martian_source", XDP_DROP, OTHER, source="fe80::1"),
    "source link-local to the router": ip("punted.local_delivery", XDP_PASS, OWN[0], source="fe80::1"),
    "source of the router": ip("dropped.own_source", XDP_DROP, source=OWN[0]),
    "source of the router on another server": ip("dropped.own_source", XDP_DROP, source=OWN[3]),
    "source beside the router's": ip("forwarded.local", XDP_REDIRECT, source="2001:db8::3"),
    "destination loopback": ip("dropped.martian_destination", XDP_DROP, "::1"),
    "destination unspecified": ip("dropped.martian_destination", XDP_DROP, "::"),
    "destination multicast": ip("punted.multicast", XDP_PASS, "ff0e::1"),
    "destination link-local": ip("punted.local_delivery", XDP_PASS, "fe80::1", source="fe80::2"),
    "neighbour solicitation, unicast": ip("punted.ndp", XDP_PASS, OWN[0], next_header=58, hop_limit=255, payload=NS),
    "neighbour advertisement to a link-local address": ip(
        "punted.ndp", XDP_PASS, "fe80::1", source="fe80::2", next_header=58, hop_limit=255, payload=b"\x88" + bytes(23)
    ),
    "neighbour solicitation from far away": ip(
        "punted.local_delivery", XDP_PASS, OWN[0], next_header=58, hop_limit=254, payload=NS
    ),
    "ping": ip("punted.local_delivery", XDP_PASS, OWN[0], next_header=58, hop_limit=255, payload=b"\x80" + bytes(7)),
    "neighbour solicitation": raw(
        "punted.ndp",
        XDP_PASS,
        lambda _: frame6(GROUP, ipv6("ff02::1:ff00:1", next_header=58, hop_limit=255, payload=NS)),
    ),
    "neighbour solicitation of an address that is tried": raw(
        "punted.ndp",
        XDP_PASS,
        lambda _: frame6(GROUP, ipv6("ff02::1:ff00:1", source="::", next_header=58, hop_limit=255, payload=NS)),
    ),
    "multicast": raw("punted.multicast", XDP_PASS, lambda _: frame6(GROUP, ipv6("ff02::fb"))),
    "multicast, cut": raw("punted.multicast", XDP_PASS, lambda _: frame6(GROUP, ipv6("ff02::fb")[:39])),
    "cut in the header": raw("dropped.short", XDP_DROP, lambda mac: frame6(mac, ipv6(LOCAL)[:39])),
    "somebody else's": raw("dropped.other_host", XDP_DROP, lambda _: frame6(b"\x02" + b"\xaa" * 5, ipv6(LOCAL))),
    "IPv4 beside it": raw("forwarded.local", XDP_REDIRECT, lambda mac: ethernet(mac, ipv4("198.18.0.9"))),
}
CASES = [make(name) for name, make in MAKERS.items()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_received_at_an_external_port(router: Router, case: Case) -> None:
    router.next_tick()
    before = router.counted()
    frame = case.build(router.mac("ext0"))
    done = router.receive("ext0", frame)
    after = router.counted()
    moved = {name for name in after if after[name] != before.get(name, 0)} - {"received.external", "bytes"}
    assert (done.verdict, moved) == (case.verdict, {case.counter})
    change = forwarded6 if frame[12:14] == b"\x86\xdd" else forwarded
    if case.counter == "forwarded.local":
        assert done.frame == change(frame, NEIGHBOR_MAC, router.mac("ext0"))
    elif case.counter == "forwarded.direct":
        assert done.frame[:2] == b"\x02\x52"
        destination = IPv6Address(frame[38:54])
        if destination == IPv6Address(OWN[1]):
            assert done.frame[:6] == fabric(1, 0)
            assert done.frame[14:] == frame[14:]
        else:
            port = 1 if destination == IPv6Address(OTHER) else 2
            assert done.frame[14:] == forwarded6(frame, fabric(port, 1), router.mac(f"int{port}"))[14:]
            assert done.frame[:6] == fabric(port, 1)
    else:
        assert done.frame == frame


@pytest.mark.parametrize(
    ("adjacency", "destination", "counter", "verdict"),
    [
        (1, LOCAL, "forwarded.egress", XDP_REDIRECT),
        (0, OWN[0], "punted.local_delivery", XDP_PASS),
        (0, "2001:db8::5", "punted.unresolved", XDP_PASS),
    ],
)
def test_received_from_the_fabric(router: Router, adjacency: int, destination: str, counter: str, verdict: int) -> None:
    router.next_tick()
    before = router.counted()
    frame = ethernet(fabric(0, adjacency), ipv6(destination), source=b"\x02\x4e\1\2\3\4", protocol=0x86DD)
    done = router.receive("int1", frame)
    moved = {name for name, count in router.counted().items() if count != before.get(name, 0)}
    assert counter in moved
    assert done.frame[14:] == frame[14:]
    # On veth a frame for the kernel is redirected to the same CPU's queue.
    assert done.verdict in (verdict, XDP_REDIRECT)


@pytest.mark.parametrize(("mode", "astray"), [("loose", {"2001:db9::1"}), ("strict", {"2001:db9::1", OTHER})])
def test_sources_by_the_way_back(router: Router, mode: str, astray: set[str]) -> None:
    router.reopen(urpf={"ext0": mode})
    router.plane.apply()
    try:
        for source in ("2001:db8::2", OTHER, "2001:db9::1", "fe80::2"):
            destination = OWN[0] if source.startswith("fe80") else LOCAL
            before = router.counted().get("dropped.reverse_path", 0)
            router.next_tick()
            done = router.receive("ext0", frame6(router.mac("ext0"), ipv6(destination, source=source)))
            refused = router.counted().get("dropped.reverse_path", 0) - before
            assert (refused, done.verdict == XDP_DROP) == ((1, True) if source in astray else (0, False)), source
    finally:
        router.reopen(urpf={})
        router.plane.apply()


def test_without_ipv6_routes_all_of_it_is_the_kernels(router: Router) -> None:
    with_ipv6 = (router.folder / "fib.bin").read_bytes()
    router.write("fib", fib_of(default_routes(4)))
    router.reopen()
    router.plane.apply()
    try:
        before = router.counted()
        done = router.receive("ext0", frame6(router.mac("ext0"), ipv6(LOCAL)))
        assert (done.verdict, router.counted()["punted.ipv6"]) == (XDP_PASS, before.get("punted.ipv6", 0) + 1)
    finally:
        router.write("fib", with_ipv6)
        router.reopen()
        router.plane.apply()


def test_the_longest_prefix_counts_as_in_the_model(router: Router) -> None:
    """Random nested prefixes, of which each leads to a port of another server: seen in the fabric's MAC."""
    dice = random.Random(82)  # noqa: S311 - repeatable
    model: dict[tuple[int, int], int] = {}
    words = [0x2001, 0xDB8, 0, 1, 0xFF, 0x100, 0xFFFF]
    for _ in range(600):
        length = dice.choice([16, 24, 29, 32, 33, 40, 44, 47, 48, 56, 64, 96, 127, 128, dice.randrange(3, 129)])
        value = sum(dice.choice(words) << 16 * at for at in range(7)) | 0x2001 << 112
        model[value >> (128 - length) << (128 - length), length] = dice.randrange(1, 4)
    for at in range(3000):  # a crowded node
        model[0x2A02 << 112 | at << 97, 32] = 1 + at % 3
    with_ipv6 = (router.folder / "fib.bin").read_bytes()
    router.write("fib", fib_of(default_routes(4), [(*key, port << 16 | 1) for key, port in model.items()]))
    router.reopen()
    router.plane.apply()
    try:
        for network, length in dice.sample(list(model), 400):
            address = network | dice.getrandbits(128) >> length if length < 128 else network
            if address >> 64 == 0:
                continue
            router.next_tick()
            found = router.receive("ext0", frame6(router.mac("ext0"), ipv6(str(IPv6Address(address))))).frame
            best = max(len_ for net, len_ in model if address >> (128 - len_) == net >> (128 - len_))
            want = model[address >> (128 - best) << (128 - best), best]
            assert found[:6] == fabric(want, 1), (IPv6Address(address), best)
    finally:
        router.write("fib", with_ipv6)
        router.reopen()
        router.plane.apply()


def test_what_the_table_says_of_an_address(router: Router) -> None:
    table = router.plane.table()
    ways = {text: table.get6(int(IPv6Address(text)))["entry"] for text in (LOCAL, OTHER, OWN[0], OWN[1], "2001:db9::")}
    assert ways == {
        LOCAL: f"port ext0 to {NEIGHBOR}",
        OTHER: "server 1, port 1, adjacency 1",
        OWN[0]: "this server's kernel",
        OWN[1]: "server 1, port 1, its kernel",
        "2001:db9::": "no route: the kernel",
    }


def test_a_flow_is_what_the_model_says(router: Router) -> None:
    """The flowlet table has the flow's tag at the flow's place."""
    dice = random.Random(6)  # noqa: S311 - repeatable
    for _ in range(60):
        label, protocol = dice.choice([0, 0, dice.getrandbits(20)]), dice.choice([6, 17, 44, 58, 132])
        source, ports = 0x2001 << 112 | dice.getrandbits(100), (dice.getrandbits(16), dice.getrandbits(16))
        destination = 0x20010DB80000 << 80 | 1 << 64 | dice.getrandbits(64) | 2
        payload = struct.pack(">HH", *ports) + bytes(20)
        packet = ipv6(
            str(IPv6Address(destination)),
            source=str(IPv6Address(source)),
            next_header=protocol,
            label=label,
            payload=payload,
        )
        router.next_tick()
        assert router.receive("ext0", frame6(router.mac("ext0"), packet)).verdict == XDP_REDIRECT
        has_ports = protocol in (6, 17, 132)
        hashed = flow_hash6(Flow6(source, destination, label, protocol, *(ports if has_ports else (0, 0))))
        assert flowlet_at(router, hashed) == (hashed >> 32) | 1


def flowlet_at(router: Router, hashed: int) -> int:
    """The tag of the entry of a flow on CPU 0."""
    loaded = router.plane._pins.load()
    layout = loaded.layout
    at = shape.PATHS_AT + shape.TRAFFIC.size * layout.servers**2 + 8 * (hashed & (layout.flowlets - 1))
    return int.from_bytes(loaded.memory("cores")[at + 4 : at + 8], "little")


def test_discovery_has_a_rate_of_its_own(router: Router) -> None:
    router.reopen(punts={**dict.fromkeys(PUNTED, 100_000), "ndp": 10})
    router.plane.apply()
    try:
        frame = frame6(GROUP, ipv6("ff02::1:ff00:1", next_header=58, hop_limit=255, payload=NS))
        router.next_tick()
        verdicts = [router.receive("ext0", frame).verdict for _ in range(40)]
        assert verdicts.count(XDP_PASS) == 16
        ping = ipv6(OWN[0], next_header=58, payload=b"\x80" + bytes(7))
        assert router.receive("ext0", frame6(router.mac("ext0"), ping)).verdict == XDP_PASS
    finally:
        router.reopen(punts=dict.fromkeys(PUNTED, 100_000))
        router.plane.apply()
