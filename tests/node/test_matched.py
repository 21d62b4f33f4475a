"""Which route a sampled packet's addresses match: asked of a real kernel, in a namespace with the router's table."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from rbops.node.matched import Match, Matcher, neighbors
from rbops.node.sflow import Router
from tests.support.netns import inside

ROWS = """prefix,port,adjacency,via
198.18.0.0/24,0,0,
198.18.0.1/32,0,0,
198.18.1.2/32,1,1,
203.0.113.0/24,1,1,198.18.1.2
198.51.100.7/32,2,3,198.18.2.9
2001:db8:a1::2/128,1,2,
"""

SETUP = """\
link set lo up
link add ext0 type veth peer name far0
link add int1 type veth peer name far1
link set ext0 up
link set far0 up
link set int1 up
link set far1 up
address add 198.18.0.1/24 dev ext0
address add 2001:db8:a0::1/64 dev ext0 nodad
rule add pref 10 from 198.18.0.1 lookup 82
-6 rule add pref 10 from 2001:db8:a0::1 lookup 82
route add 10.0.0.0/8 via 198.18.0.2 dev ext0 table 82
route add 10.1.0.0/16 via 169.254.1.1 dev int1 onlink table 82
route add 10.2.0.0/16 table 82 nexthop via 198.18.0.2 dev ext0 nexthop via 198.18.0.3 dev ext0
route add 10.3.0.0/16 via 169.254.7.7 dev int1 onlink table 82
route add blackhole 10.4.0.0/16 table 82
route add 198.18.0.0/24 dev ext0 table 82
route add 10.5.0.0/16 via inet6 fe80::9 dev ext0 table 82
route add 192.0.2.0/24 via 198.18.0.9 dev ext0
-6 route add 2001:db8:f::/48 via fe80::5252:1:2 dev int1 table 82
-6 route add 2001:db8:e::/48 via 2001:db8:a0::2 dev ext0 table 82
"""


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matcher]:
    name = f"rbm-{uuid.uuid4().hex[:6]}"
    rows = tmp_path_factory.mktemp("routes") / "routes.csv"
    rows.write_text(ROWS)
    run = ["ip", "-n", name]
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        on = ["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0"]
        subprocess.run([*on, "net.ipv6.conf.default.disable_ipv6=0"], check=True)
        for line in SETUP.splitlines():
            subprocess.run([*run, *line.split()], check=True)
        with inside(name):
            made = Matcher({4: "198.18.0.1", 6: "2001:db8:a0::1"}, neighbors(rows))
        yield made
        made.close()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def packed(address: str) -> bytes:
    return ip_address(address).packed


def frame(source: str, destination: str) -> bytes:
    if ":" in source:
        return bytes(12) + b"\x86\xdd" + bytes(8) + packed(source) + packed(destination)
    return bytes(12) + b"\x08\x00" + bytes(12) + packed(source) + packed(destination)


@pytest.mark.root
@pytest.mark.parametrize(
    ("destination", "next_hop", "length"),
    [
        ("10.9.9.9", "198.18.0.2", 8),
        ("10.1.9.9", "198.18.1.2", 16),
        ("10.2.9.9", "0.0.0.0", 16),  # noqa: S104
        ("10.3.9.9", "0.0.0.0", 16),  # noqa: S104
        ("198.18.0.77", "0.0.0.0", 24),  # noqa: S104
        ("2001:db8:e::9", "2001:db8:a0::2", 48),
        ("2001:db8:f::9", "2001:db8:a1::2", 48),
    ],
    ids=["neighbour", "fabric", "several", "not planned", "connected", "IPv6", "fabric, IPv6"],
)
def test_next_hop_and_prefixes(matcher: Matcher, destination: str, next_hop: str, length: int) -> None:
    source = ("2001:db8:f::1", 48) if ":" in destination else ("10.1.0.1", 16)
    assert matcher.router(frame(source[0], destination)) == Router(packed(next_hop), source[1], length)


@pytest.mark.root
def test_a_next_hop_of_the_other_family(matcher: Matcher) -> None:
    assert matcher.router(frame("10.1.0.1", "10.5.0.9")) == Router(packed("fe80::9"), 16, 16)


@pytest.mark.root
@pytest.mark.parametrize("destination", ["10.4.0.1", "192.0.2.9", "172.16.0.1", "2001:db8:d::1"])
def test_what_no_route_of_the_routers_forwards(matcher: Matcher, destination: str) -> None:
    """A blackhole, a route of the server's own, and none at all."""
    assert matcher.router(frame("2001:db8:f::1" if ":" in destination else "10.1.0.1", destination)) is None


@pytest.mark.root
def test_other_frames_and_unknown_sources(matcher: Matcher) -> None:
    assert matcher.router(bytes(12) + b"\x08\x06" + bytes(28)) is None
    assert matcher.router(frame("10.1.0.1", "10.9.9.9")[:33]) is None
    assert matcher.router(frame("172.16.0.1", "10.9.9.9")) == Router(packed("198.18.0.2"), 0, 8)


@pytest.mark.root
def test_an_answer_is_fresh(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a second the kernel is not asked again; then it is."""
    now = [1e9]
    monkeypatch.setattr("rbops.node.matched.time.monotonic", lambda: now[0])
    asked: list[bytes] = []
    ask = Matcher._ask

    def counted(self: Matcher, address: bytes) -> Match | None:
        asked.append(address)
        return ask(self, address)

    monkeypatch.setattr(Matcher, "_ask", counted)
    address = packed("10.9.9.9")
    for seconds in (0.0, 0.5, 1.0, 0.2):
        now[0] += seconds
        assert matcher.match(address) == Match(8, packed("198.18.0.2"))
    assert len(asked) == 2


def test_neighbours_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "routes.csv"
    known = neighbors(path)
    assert known() == {}
    path.write_text(ROWS)
    want = {(1, 1): packed("198.18.1.2"), (2, 3): packed("198.18.2.9"), (1, 2): packed("2001:db8:a1::2")}
    assert known() == want
    new = tmp_path / "new"
    new.write_text(ROWS.replace("198.18.1.2", "198.18.1.3"))
    new.replace(path)
    assert known() == want | {(1, 1): packed("198.18.1.3")}
    path.write_text("prefix,port,adjacency,via\nnonsense\n")
    assert known() == {}
