"""IPv4 routes with IPv6 next hops (RFC 8950), as daemons write them, in the table that follows the kernel's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from rbops.node.fib import Follower, audit, trace
from tests.dataplane.following import Following
from tests.dataplane.frames import ethernet, ipv4
from tests.dataplane.router import Router, run
from tests.dataplane.test_follow6 import LINK_LOCAL, OWN, PEER, SECOND, Following6

pytestmark = pytest.mark.root

PREFIX = "203.0.113.0/24"


class Mixed(Following6):
    """Its neighbours have IPv6 addresses alone; routes are of IPv4."""

    def route4(self, line: str) -> None:
        verb, prefix, rest = [*line.split(" ", 2), ""][:3]
        run("ip", "route", verb, prefix, "table", "82", *rest.split())

    def way4(self, address: str, source: str = "192.0.2.1") -> str:
        return self.fate(ethernet(self.router.mac("ext0"), ipv4(address, source=source)))

    def ways4(self) -> set[str]:
        return {self.way4(f"203.0.113.{last}", f"192.0.2.{last}") for last in range(1, 60)}


@pytest.fixture
def mixed(make_router: Callable[..., Router], tmp_path: Path) -> Iterator[Mixed]:
    addresses = [f"198.18.{port}.1" for port in range(4)] + OWN
    near = [{"port": 0, "index": 2, "address": "2001:db8::2/128"}]
    made = Mixed(make_router(follow={"routes": 1000, "neighbors": near}, addresses=addresses), tmp_path)
    yield made
    made.close()


def reasons(following: Following) -> dict[str, str]:
    return {entry["prefix"]: entry["reason"] for entry in audit(following.table)["unresolved_routes"]}


def test_every_next_hop(mixed: Mixed) -> None:
    """Link-local and global neighbours, and neighbours of other servers' ports; no packet is the kernel's."""
    f = mixed
    for via, device, mac in (
        ("fe80::4", "ext0", LINK_LOCAL),
        ("2001:db8::3", "ext0", SECOND),
        ("fe80::5252:2:2", "int2", "02:52:00:02:00:02"),
    ):
        f.route4(f"replace {PREFIX} via inet6 {via} dev {device} proto bird")
        f.settle()
        assert f.way4("203.0.113.9") == mac
    assert reasons(f) == {}
    assert f.differences() == 0
    found = trace(f.table, IPv4Address("203.0.113.9"))
    assert found["hop"] == "port 2 adjacency 2"
    assert found["route"] == "via inet6 fe80::5252:2:2 dev int2 proto 12"
    assert not any(count for name, count in f.router.counted().items() if name.startswith("punted."))
    f.route4(f"del {PREFIX}")
    f.settle()
    assert f.way4("203.0.113.9") == "kernel"
    assert f.differences() == 0


def test_a_neighbour_that_is_not_known_is_the_kernels_until_it_is(mixed: Mixed) -> None:
    f = mixed
    f.route4(f"add {PREFIX} via inet6 fe80::7 dev ext0")
    f.settle()
    assert f.way4("203.0.113.9") == "kernel"
    f.ip("neigh replace fe80::7 lladdr 02:4e:00:00:00:07 dev ext0 nud reachable")
    f.settle()
    assert f.way4("203.0.113.9") == "02:4e:00:00:00:07"
    f.ip("neigh replace fe80::7 lladdr 02:4e:00:00:00:77 dev ext0 nud reachable")
    f.settle()
    assert f.way4("203.0.113.9") == "02:4e:00:00:00:77"
    assert f.differences() == 0


def test_multipath_of_both_families(mixed: Mixed) -> None:
    f = mixed
    run("ip", "addr", "add", "198.18.0.1/24", "dev", "ext0", "noprefixroute")
    run("ip", "route", "add", "198.18.0.0/24", "dev", "ext0", "table", "82")
    run("ip", "neigh", "replace", "198.18.0.2", "lladdr", PEER, "dev", "ext0", "nud", "permanent")
    hops = ("via 198.18.0.2 dev ext0", "via inet6 fe80::4 dev ext0", "via inet6 fe80::5252:1:2 dev int1")
    f.route4(f"add {PREFIX} " + " ".join(f"nexthop {hop} weight 2" for hop in hops))
    f.settle()
    assert f.ways4() == {PEER, LINK_LOCAL, "02:52:00:01:00:02"}
    assert reasons(f) == {}
    assert f.differences() == 0


def test_next_hop_objects(mixed: Mixed) -> None:
    """Objects have the next hop's family, not the route's; FRR makes them so."""
    f = mixed
    f.ip("nexthop add id 7 via fe80::4 dev ext0")
    f.ip("nexthop add id 8 via 2001:db8::3 dev ext0")
    run("ip", "nexthop", "add", "id", "9", "group", "7/8")
    f.route4(f"add {PREFIX} nhid 9")
    f.settle()
    assert f.ways4() == {LINK_LOCAL, SECOND}
    f.ip("nexthop del id 7")
    f.settle()
    assert f.way4("203.0.113.9") == SECOND
    assert reasons(f) == {}
    assert f.differences() == 0


@pytest.mark.parametrize("paths", [1, 2])
def test_routes_outlive_a_cable_and_go_back(mixed: Mixed, paths: int) -> None:
    f = mixed
    hops = ["via inet6 fe80::5252:2:2 dev int2", "via inet6 fe80::5252:3:2 dev int3"][:paths]
    f.route4(f"add {PREFIX} proto bird " + (hops[0] if paths == 1 else " ".join(f"nexthop {hop}" for hop in hops)))
    f.settle()
    before = f.ways4()
    run("ip", "link", "set", "far-int2", "down")
    for _ in range(3):
        f.settle()
        assert f.ways4() <= before | {"drop"}, "the data plane keeps it"
    assert "int2" not in route_to(PREFIX)
    assert "via inet6 fe80::5252:2:2 dev int1" in route_to(PREFIX)
    assert f.differences() == 0
    run("ip", "link", "set", "far-int2", "up")
    f.settle()
    f.settle()
    assert "via inet6 fe80::5252:2:2 dev int2" in route_to(PREFIX)
    assert f.differences() == 0


def test_what_leads_nowhere_is_listed(mixed: Mixed, tmp_path: Path) -> None:
    f = mixed
    f.route4(f"add {PREFIX} via inet6 2001:db8:9::9 dev int1 onlink")
    f.settle()
    assert f.way4("203.0.113.9") == "kernel"
    assert reasons(f) == {PREFIX: "next hop 2001:db8:9::9 is behind no port"}
    other = Follower(f.table, f.said.append, tmp_path / "other.json", audits=False)
    other.resync()
    assert other.status()["unresolved"] == 1
    assert f.differences() == 0
    other.close()


def route_to(prefix: str) -> str:
    command = ["ip", "route", "show", prefix, "table", "82"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
