"""The IPv6 table that follows the kernel's, beside that of IPv4."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from rbops.node.fib import Follower, trace
from tests.dataplane.following import Following
from tests.dataplane.frames import ethernet, ipv6
from tests.dataplane.router import Router, run

pytestmark = pytest.mark.root

PEER, SECOND, LINK_LOCAL = (f"02:4e:00:00:00:0{number}" for number in (2, 3, 4))
OWN = [f"2001:db8:0:{port:x}::1" for port in range(4)]


class Following6(Following):
    """Its own port has 2001:db8::1/64 and neighbours, one with a link-local address."""

    family = 6

    def prepare(self) -> None:
        for device in ("ext0", "int1", "int2", "int3"):
            run("sysctl", "-q", f"net.ipv6.conf.{device}.disable_ipv6=0", f"net.ipv6.conf.{device}.accept_dad=0")
        self.ip("addr add 2001:db8::1/64 dev ext0 nodad noprefixroute")
        self.ip(f"neigh replace 2001:db8::2 lladdr {PEER} dev ext0 nud permanent")
        self.ip(f"neigh replace 2001:db8::3 lladdr {SECOND} dev ext0 nud permanent")
        self.ip(f"neigh replace fe80::4 lladdr {LINK_LOCAL} dev ext0 nud permanent")
        self.route("add 2001:db8::/64 dev ext0")
        self.ip("route add 2001:db8::/64 dev ext0")
        for port in (1, 2, 3):
            self.ip(f"neigh replace fe80::5252:{port}:2 lladdr 02:52:00:0{port}:00:02 dev int{port} nud permanent")
            self.route(f"add 2001:db8:0:{port}::/64 via fe80::5252:{port}:2 dev int{port} proto 82")

    def way(self, address: str, **fields: Any) -> str:
        """What becomes of a packet."""
        return self.fate(ethernet(self.router.mac("ext0"), ipv6(address, **fields), protocol=0x86DD))


@pytest.fixture
def following(make_router: Callable[..., Router], tmp_path: Path) -> Iterator[Following6]:
    addresses = [f"198.18.{port}.1" for port in range(4)] + OWN
    near = [{"port": 0, "index": 2, "address": "2001:db8::2/128"}]
    made = Following6(make_router(follow={"routes": 1000, "neighbors": near}, addresses=addresses), tmp_path)
    yield made
    made.close()


def test_every_source_of_a_route(following: Following6) -> None:
    f = following
    assert f.way("2001:db8::2") == PEER
    assert f.way("2001:db8::3") == SECOND
    assert f.way("2001:db8::9") == f.way("2001:db8::1") == "kernel"
    assert f.way("2001:db8:0:2::9") == "02:52:00:02:00:02"
    assert f.way("2001:db8:f::9") == "kernel"
    f.route("add 2001:db8:f::/48 via 2001:db8::2 dev ext0 proto bird")
    f.route("add 2001:db8:f:1::/64 via fe80::5252:3:2 dev int3 proto bird")
    f.route("add 2001:db8:f::77/128 via fe80::4 dev ext0 proto bird")
    f.settle()
    assert f.way("2001:db8:f::9") == PEER
    assert f.way("2001:db8:f:1::9") == "02:52:00:03:00:02"
    assert f.way("2001:db8:f::77") == LINK_LOCAL, "a link-local next hop, as RFC 2545 has it"
    f.route("replace 2001:db8:f::/48 via 2001:db8::3 dev ext0 proto bird")
    f.route("del 2001:db8:f:1::/64")
    f.settle()
    assert f.way("2001:db8:f::9") == f.way("2001:db8:f:1::9") == SECOND
    assert f.differences() == 0
    assert f.router.plane.diff() == []
    f.route("add default via fe80::5252:1:2 dev int1")
    f.settle()
    assert f.way("2400::1") == "02:52:00:01:00:02"
    f.route("del default")
    f.settle()
    assert f.way("2400::1") == "kernel"
    assert f.differences() == 0


def test_metrics(following: Following6) -> None:
    f = following
    f.route("add 2001:db8:f::/48 via fe80::5252:3:2 dev int3 metric 20")
    f.route("add 2001:db8:f::/48 via fe80::5252:1:2 dev int1 metric 10")
    f.settle()
    assert f.way("2001:db8:f::9") == "02:52:00:01:00:02"
    f.route("del 2001:db8:f::/48 metric 10")
    f.settle()
    assert f.way("2001:db8:f::9") == "02:52:00:03:00:02"
    assert f.differences() == 0


def test_answers(following: Following6) -> None:
    f = following
    f.route("add blackhole 2001:db8:f::/48")
    f.route("add unreachable 2001:db8:f:1::/64")
    f.route("add prohibit 2001:db8:f:2::/64")
    f.settle()
    assert [f.way(f"2001:db8:f:{subnet}::9") for subnet in (9, 1, 2)] == ["drop", "kernel", "kernel"]
    counted = f.router.counted()
    assert (counted["dropped.blackhole"], counted["punted.no_route"]) == (1, 2)
    assert f.differences() == 0
    f.route("del blackhole 2001:db8:f::/48")
    f.settle()
    assert f.way("2001:db8:f:9::9") == "kernel"
    assert f.differences() == 0


@pytest.mark.parametrize("appended", [False, True])
def test_multipath(following: Following6, appended: bool) -> None:  # noqa: FBT001 - a parameter
    """In one message, and one next hop after the other as BIRD writes them; a next hop is taken out by itself."""
    f, hops = following, ["nexthop via 2001:db8::2 dev ext0", "nexthop via fe80::5252:1:2 dev int1"]
    if appended:
        f.route("add 2001:db8:f::/48 via 2001:db8::2 dev ext0")
        f.route("append 2001:db8:f::/48 via fe80::5252:1:2 dev int1")
    else:
        f.route(f"add 2001:db8:f::/48 {' '.join(hops)}")
    f.settle()
    used = {f.way(f"2001:db8:f::{number:x}", label=number) for number in range(1, 60)}
    assert used == {PEER, "02:52:00:01:00:02"}
    assert f.differences() == 0
    f.route("del 2001:db8:f::/48 via 2001:db8::2 dev ext0")
    f.settle()
    assert {f.way(f"2001:db8:f::{number:x}", label=number) for number in range(1, 60)} == {"02:52:00:01:00:02"}
    assert f.differences() == 0


def test_next_hop_objects(following: Following6) -> None:
    f = following
    f.ip("nexthop add id 7 via 2001:db8::2 dev ext0")
    f.ip("nexthop add id 8 via 2001:db8::3 dev ext0")
    run("ip", "nexthop", "add", "id", "9", "group", "7/8")
    f.route("add 2001:db8:f::/48 nhid 9")
    f.settle()
    assert {f.way(f"2001:db8:f::{number:x}", label=number) for number in range(1, 60)} == {PEER, SECOND}
    f.ip("nexthop del id 7")
    f.settle()
    assert f.way("2001:db8:f::9") == SECOND
    assert f.differences() == 0
    f.ip("nexthop replace id 8 via 2001:db8::2 dev ext0")
    f.settle()
    assert f.way("2001:db8:f::9") == PEER
    f.ip("nexthop del id 9")
    f.settle()
    assert f.way("2001:db8:f::9") == "kernel"
    assert f.differences() == 0


def test_a_neighbour_whose_mac_changes(following: Following6) -> None:
    f = following
    f.route("add 2001:db8:f::/48 via 2001:db8::2 dev ext0")
    f.settle()
    f.ip("neigh replace 2001:db8::2 lladdr 02:4e:00:00:00:22 dev ext0 nud permanent")
    f.settle()
    assert f.way("2001:db8:f::9") == f.way("2001:db8::2") == "02:4e:00:00:00:22"
    f.ip("neigh del 2001:db8::2 dev ext0")
    f.settle()
    assert f.way("2001:db8:f::9") == "kernel"
    assert f.differences() == 0


def test_routes_outlive_a_cable_and_go_back(following: Following6) -> None:
    f = following
    f.route("add 2001:db8:f::/48 via fe80::5252:2:2 dev int2")
    f.settle()
    run("ip", "link", "set", "int2", "down")
    f.settle()
    f.settle()
    assert f.way("2001:db8:f::9").startswith("02:52:00:02:")
    assert "int2" not in route_to("2001:db8:f::/48")
    assert f.differences() == 0
    run("ip", "link", "set", "int2", "up")
    f.settle()
    f.settle()
    assert "dev int2" in route_to("2001:db8:f::/48")
    assert f.way("2001:db8:f::9").startswith("02:52:00:02:")
    assert f.differences() == 0


def route_to(prefix: str) -> str:
    command = ["ip", "-6", "route", "show", prefix, "table", "82"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_neighbour_by_its_port_alone(make_router: Callable[..., Router], tmp_path: Path) -> None:
    """Other servers' frames for it get the MAC of the link-local next hop that routes of either family have there."""
    near = [{"port": 0, "index": 1, "address": "fe80::/128"}, {"port": 0, "index": 2, "address": "fe80::4/128"}]
    addresses = [f"198.18.{port}.1" for port in range(4)] + OWN
    f = Following6(make_router(follow={"routes": 1000, "neighbors": near}, addresses=addresses), tmp_path)
    frame = ethernet(bytes.fromhex("025200000001"), ipv6("2001:db8:f::9"), protocol=0x86DD)

    def is_now(mac: str) -> None:
        f.settle()
        ran = f.router.receive("int1", frame)
        assert (ran.frame[:6].hex(":") if ran.verdict == 4 else ran.verdict) == mac

    try:
        f.ip(f"neigh replace fe80::5 lladdr {SECOND} dev ext0 nud permanent")
        f.route("add 2001:db8:f::/48 via fe80::4 dev ext0 proto bird")
        is_now(LINK_LOCAL)
        run("ip", "route", "add", "203.0.113.0/24", "table", "82", "via", "inet6", "fe80::5", "dev", "ext0")
        is_now(SECOND)  # the other one has a name of its own
        f.ip("neigh replace fe80::5 lladdr 02:4e:00:00:00:09 dev ext0 nud permanent")
        is_now("02:4e:00:00:00:09")
        assert f.differences() == 0
    finally:
        f.close()


def test_lost_messages_and_a_new_start(following: Following6, tmp_path: Path) -> None:
    f = following
    f.route("add 2001:db8:f::/48 via 2001:db8::2 dev ext0")
    f.follower.resync()
    assert f.way("2001:db8:f::9") == PEER
    f.route("del 2001:db8:f::/48")
    f.route("add 2001:db8:e::/48 via 2001:db8::3 dev ext0")
    assert f.differences() > 0, "the audit sees what was not said"
    other = Follower(f.table, f.said.append, tmp_path / "other.json", audits=False)
    other.resync()
    assert (f.way("2001:db8:f::9"), f.way("2001:db8:e::9")) == ("kernel", SECOND)
    assert f.differences() == 0
    assert other.status()["ipv6_routes"] >= 5
    other.close()


def test_messages_that_were_lost_are_read_again_and_counted(following: Following6) -> None:
    """ENOBUFS: more routes than the socket's buffer holds messages of."""
    f = following
    f.events._link.setsockopt(1, 33, 4096)  # SO_RCVBUFFORCE
    lines = "".join(f"route add 2001:db8:e:{n:x}::/64 via 2001:db8::2 dev ext0 table 82\n" for n in range(1000))
    subprocess.run(["ip", "-6", "-batch", "-"], input=lines, text=True, check=True)
    f.settle()
    assert f.follower.counts.overruns >= 1
    f.follower._next["resync"] = 0
    f.settle()
    assert f.way("2001:db8:e:3e7::1") == PEER
    assert f.differences() == 0
    assert "messages of the kernel were lost" in f.said[0]


def test_many_changes_leave_no_difference(following: Following6) -> None:
    f = following
    for subnet in range(200):
        port = 1 + subnet % 3
        f.route(f"add 2001:db8:{subnet + 256:x}::/{48 + subnet % 80} via fe80::5252:{port}:2 dev int{port}")
    f.settle()
    assert f.differences() == 0
    for subnet in range(0, 200, 2):
        f.route(f"del 2001:db8:{subnet + 256:x}::/{48 + subnet % 80}")
    f.settle()
    assert f.differences() == 0


def test_an_address_is_traced(following: Following6) -> None:
    f = following
    found = trace(f.table, IPv6Address("2001:db8:0:3::9"))
    assert found["prefix"] == "2001:db8:0:3::/64"
    assert found["hop"] == "port 3 adjacency 2"
    assert found["data_plane"]["entry"] == "server 3, port 3, adjacency 2"
