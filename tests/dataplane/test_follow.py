"""The table that follows the kernel's: changed in place by what the kernel says, and by what it does not say."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from rbops.node.fib import audit, trace
from tests.dataplane.following import Following
from tests.dataplane.frames import ethernet, ipv4
from tests.dataplane.router import Router, run

pytestmark = pytest.mark.root

PEER = "02:4e:00:00:00:02"


class Following4(Following):
    """Its own port has 198.18.0.1/24 and two neighbours."""

    def prepare(self) -> None:
        for index in (1, 2, 3):
            run("sysctl", "-q", f"net.ipv4.conf.int{index}.rp_filter=0")
        run("ip", "addr", "add", "198.18.0.1/24", "dev", "ext0", "noprefixroute")
        self.ip("neigh replace 198.18.0.2 lladdr 02:4e:00:00:00:02 dev ext0 nud permanent")
        self.ip("neigh replace 198.18.0.3 lladdr 02:4e:00:00:00:03 dev ext0 nud permanent")
        self.route("add 198.18.0.0/24 dev ext0 scope link")
        # Next-hop objects ask the main table for their gateways.
        self.ip("route add 198.18.0.0/24 dev ext0 scope link")
        for port in (1, 2, 3):
            self.ip(f"neigh replace 169.254.{port}.1 lladdr 02:52:00:0{port}:00:01 dev int{port} nud permanent")
            self.route(f"add 198.18.{port}.0/24 via 169.254.{port}.1 dev int{port} onlink proto 82")

    def way(self, address: str, **fields: Any) -> str:
        """What becomes of a packet."""
        return self.fate(ethernet(self.router.mac("ext0"), ipv4(address, **fields)))


@pytest.fixture
def following(make_router: Callable[..., Router], tmp_path: Path) -> Iterator[Following4]:
    near = [{"port": 0, "index": 1, "address": "198.18.0.2/32"}]
    made = Following4(make_router(follow={"routes": 1000, "neighbors": near}), tmp_path)
    yield made
    made.close()


def test_every_source_of_a_route(following: Following4) -> None:
    f = following
    assert f.way("198.18.0.2") == PEER
    assert f.way("198.18.0.3") == "02:4e:00:00:00:03"
    assert f.way("198.18.0.9") == "kernel"
    assert f.way("198.18.0.1") == "kernel"
    assert f.way("198.18.2.9") == "02:52:00:02:00:01"
    assert f.way("203.0.113.9") == "kernel"
    f.route("add 203.0.113.0/24 via 198.18.0.2 dev ext0 proto bird")
    f.route("add 203.0.113.128/25 via 169.254.3.1 dev int3 onlink proto bird")
    f.route("add 203.0.113.200/32 via 198.18.2.9 dev int2 onlink")
    f.settle()
    assert f.way("203.0.113.9") == PEER
    assert f.way("203.0.113.129") == "02:52:00:03:00:01"
    assert f.way("203.0.113.200") == "02:52:00:02:00:01", "recursively over another server's port"
    f.route("replace 203.0.113.0/24 via 198.18.0.3 dev ext0 proto bird")
    f.route("del 203.0.113.128/25")
    f.settle()
    assert f.way("203.0.113.9") == f.way("203.0.113.129") == "02:4e:00:00:00:03"
    assert f.differences() == 0
    assert f.router.plane.diff() == []


def test_metrics_and_prepended_routes_as_the_kernel_prefers(following: Following4) -> None:
    f = following
    f.route("add 203.0.113.0/24 via 169.254.3.1 dev int3 onlink metric 20")
    f.route("add 203.0.113.0/24 via 169.254.1.1 dev int1 onlink metric 10")
    f.settle()
    assert f.way("203.0.113.9") == "02:52:00:01:00:01"
    f.route("prepend 203.0.113.0/24 via 169.254.2.1 dev int2 onlink metric 10")
    f.settle()
    assert f.way("203.0.113.9") == "02:52:00:02:00:01"
    f.route("append 203.0.113.0/24 via 198.18.0.2 dev ext0 metric 10")
    f.settle()
    assert f.way("203.0.113.9") == "02:52:00:02:00:01"
    assert f.differences() == 0
    for gone in ("via 169.254.2.1 dev int2 metric 10", "via 169.254.1.1 dev int1 metric 10"):
        f.route(f"del 203.0.113.0/24 {gone}")
    f.settle()
    assert f.way("203.0.113.9") == PEER
    f.route("flush 203.0.113.0/24")
    f.settle()
    assert f.way("203.0.113.9") == "kernel"
    assert f.differences() == 0


def test_answers_and_what_cannot_be_resolved(following: Following4) -> None:
    f = following
    run("ip", "link", "add", "mgmt", "type", "veth", "peer", "name", "far-mgmt")
    run("ip", "link", "set", "mgmt", "up")
    f.route("add blackhole 203.0.113.0/26")
    f.route("add unreachable 203.0.113.64/26")
    f.route("add prohibit 203.0.113.128/26")
    f.route("add throw 203.0.113.192/26")
    f.route("add 192.0.2.0/24 via 10.0.0.1 dev mgmt onlink metric 1")
    f.route("add 192.0.2.0/24 via 198.18.0.2 dev ext0 metric 9")
    f.route("add 192.0.3.0/24 via 10.9.9.9 dev int1 onlink")
    f.route("add multicast 224.5.0.0/16 dev ext0")
    f.settle()
    before = f.router.counted()
    assert [f.way(f"203.0.113.{last}") for last in (1, 65, 129, 193)] == ["drop", "kernel", "kernel", "kernel"]
    after = f.router.counted()
    changed = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert changed == {
        "received.external": 4,
        "dropped.blackhole": 1,
        "punted.no_route": 3,
    }
    assert f.way("192.0.2.9") == PEER, "a route through management is never the router's"
    assert f.way("192.0.3.9") == "kernel"
    found = audit(f.table)
    assert found["differences"] == 0
    reasons = {entry["prefix"]: entry["reason"] for entry in found["unresolved_routes"]}
    assert reasons == {
        "192.0.2.0/24": "leads through mgmt, which is no data port",
        "192.0.3.0/24": "next hop 10.9.9.9 is behind no port",
    }
    assert f.follower.status()["skipped"] == {"route of type 5": 1}
    for route in ("blackhole 203.0.113.0/26", "multicast 224.5.0.0/16", "192.0.3.0/24"):
        f.route(f"del {route}")
    f.settle()
    assert f.way("203.0.113.1") == "kernel"
    assert f.differences() == 0


def test_flows_are_spread_by_weight_and_stay(following: Following4) -> None:
    f = following
    f.route("add 203.0.113.0/24 nexthop via 198.18.0.2 dev ext0 weight 3 nexthop via 198.18.0.3 dev ext0 weight 1")
    f.settle()

    def ways() -> list[str]:
        return [f.way(f"203.0.113.{last}", source=f"192.0.2.{last}") for last in range(1, 201)]

    first = ways()
    assert set(first) == {PEER, "02:4e:00:00:00:03"}
    assert ways() == first, "a flow stays"
    assert 100 < first.count(PEER) < 190
    assert f.differences() == 0
    f.ip("neigh replace 198.18.0.4 lladdr 02:4e:00:00:00:04 dev ext0 nud permanent")
    f.route(
        "replace 203.0.113.0/24 nexthop via 198.18.0.2 dev ext0 weight 3 nexthop via 198.18.0.3 dev ext0 weight 1 "
        "nexthop via 198.18.0.4 dev ext0 weight 1"
    )
    f.settle()
    second = ways()
    moved = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert moved
    assert {b for _, b in moved} == {"02:4e:00:00:00:04"}, "only flows of the new member move"
    assert f.differences() == 0


def test_next_hop_objects_and_groups(following: Following4) -> None:
    f = following
    f.ip("nexthop add id 1 via 198.18.0.2 dev ext0")
    f.ip("nexthop add id 2 via 169.254.2.1 dev int2 onlink")
    f.ip("nexthop add id 10 group 1/2")
    f.ip("nexthop add id 11 group 1")
    f.route("add 203.0.113.0/24 nhid 10")
    f.route("add 192.0.2.0/24 nhid 11")
    f.settle()
    ways = {f.way(f"203.0.113.{last}") for last in range(1, 60)}
    assert ways == {PEER, "02:52:00:02:00:01"}
    assert f.way("192.0.2.1") == PEER
    assert f.differences() == 0
    run("sysctl", "-q", "net.ipv4.nexthop_compat_mode=0")
    f.ip("nexthop replace id 1 via 198.18.0.3 dev ext0")
    f.settle()
    assert f.way("192.0.2.1") == "02:4e:00:00:00:03"
    assert f.differences() == 0
    f.ip("nexthop del id 1")
    f.settle()
    assert {f.way(f"203.0.113.{last}") for last in range(1, 60)} == {"02:52:00:02:00:01"}
    assert f.way("192.0.2.1") == "kernel", "the group ended with its last member"
    assert f.differences() == 0


def test_neighbours_come_change_and_go(following: Following4) -> None:
    f = following
    f.route("add 203.0.113.0/24 via 198.18.0.7 dev ext0")
    f.settle()
    assert f.way("203.0.113.1") == "kernel"
    f.ip("neigh replace 198.18.0.7 lladdr 02:4e:00:00:00:07 dev ext0 nud reachable")
    f.settle()
    assert f.way("203.0.113.1") == f.way("198.18.0.7") == "02:4e:00:00:00:07"
    f.ip("neigh replace 198.18.0.7 lladdr 02:4e:00:00:00:77 dev ext0 nud reachable")
    f.settle()
    assert f.way("203.0.113.1") == "02:4e:00:00:00:77"
    f.ip("neigh replace 198.18.0.2 lladdr 02:4e:00:00:00:22 dev ext0 nud permanent")
    f.settle()
    leaving = f.router.receive(
        "int1", ethernet(bytes.fromhex("025200000001"), ipv4("203.0.113.1"), source=b"\2RW\0\0\1")
    )
    assert leaving.frame[:6].hex(":") == "02:4e:00:00:00:22", "for other servers' packets too"
    f.ip("neigh del 198.18.0.7 dev ext0")
    f.settle()
    assert f.way("203.0.113.1") == f.way("198.18.0.7") == "kernel"
    assert f.differences() == 0


def test_link_down_takes_routes_without_a_word(following: Following4) -> None:
    f = following
    f.route("add 203.0.113.0/24 via 198.18.0.2 dev ext0")
    f.settle()
    run("ip", "link", "set", "ext0", "down")
    f.settle()
    assert f.differences() == 0
    assert trace(f.table, IPv4Address("203.0.113.9"))["prefix"] is None
    assert "203.0.113" not in json.dumps(f.table.get(int(IPv4Address("203.0.113.9"))))


@pytest.mark.parametrize("how", ["own", "far"])
def test_a_cut_cable_takes_no_route(following: Following4, how: str) -> None:
    f = following
    f.route("add 203.0.113.0/24 via 169.254.3.1 dev int3 onlink proto bird metric 7")
    f.settle()
    run("ip", "link", "set", "int3" if how == "own" else "far-int3", "down")
    for _ in range(3):
        f.settle()
        assert f.way("203.0.113.9") in ("02:52:00:03:00:01", "drop"), "the data plane keeps it"
    lines = subprocess.run(["ip", "route", "show", "table", "82"], capture_output=True, text=True, check=True).stdout
    assert "203.0.113.0/24 via 169.254.3.1 dev int1 proto bird metric 7 onlink" in " ".join(lines.split("\n"))
    assert "198.18.3.0/24 via 169.254.3.1 dev int1 proto 82 onlink" in lines
    assert "int3" not in lines
    assert f.differences() == 0
    run("ip", "link", "set", "int3" if how == "own" else "far-int3", "up")
    f.settle()
    lines = subprocess.run(["ip", "route", "show", "table", "82"], capture_output=True, text=True, check=True).stdout
    assert "203.0.113.0/24 via 169.254.3.1 dev int3 proto bird metric 7 onlink" in lines
    near = subprocess.run(
        ["ip", "neigh", "show", "nud", "permanent"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[2] for line in near.splitlines() if line.startswith("169.254.3.1 ")] == ["int3"]
    assert f.differences() == 0


def test_what_is_written_over_a_cut_cable_is_moved_too(following: Following4) -> None:
    f = following
    run("ip", "link", "set", "far-int3", "down")
    f.settle()
    f.route("add 203.0.113.0/24 via 169.254.3.1 dev int3 onlink proto bird metric 7")
    f.route("replace 198.18.3.0/24 via 169.254.3.1 dev int3 onlink proto 82")
    f.settle()
    lines = subprocess.run(["ip", "route", "show", "table", "82"], capture_output=True, text=True, check=True).stdout
    assert "203.0.113.0/24 via 169.254.3.1 dev int1 proto bird metric 7 onlink" in lines
    assert "198.18.3.0/24 via 169.254.3.1 dev int1 proto 82 onlink" in lines
    run("ip", "link", "set", "far-int3", "up")
    f.settle()
    lines = subprocess.run(["ip", "route", "show", "table", "82"], capture_output=True, text=True, check=True).stdout
    assert "203.0.113.0/24 via 169.254.3.1 dev int3 proto bird metric 7 onlink" in lines
    assert "198.18.3.0/24 via 169.254.3.1 dev int3 proto 82 onlink" in lines
    assert f.differences() == 0


def test_lost_messages_are_read_again_and_counted(following: Following4) -> None:
    f = following
    f.events._link.setsockopt(1, 33, 4096)  # SO_RCVBUFFORCE
    f.follower._reading_s, f.follower._next["resync"] = 500.0, 0
    lines = "".join(
        f"route add 10.{a}.{b}.0/24 via 198.18.0.2 dev ext0 table 82\n" for a in range(4) for b in range(256)
    )
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    f.settle()
    assert f.follower.counts.overruns >= 1
    assert f.follower.counts.resyncs == 1, "not while it may be filled still: reading took long"
    f.follower._next["resync"] = 0
    f.settle()
    assert f.way("10.3.255.1") == PEER
    assert f.differences() == 0
    assert (f.follower.counts.resyncs, len(f.said)) == (2, 1)
    assert "messages of the kernel were lost" in f.said[0]


def test_changes_beside_them_lose_no_packet_of_other_prefixes(following: Following4) -> None:
    f = following
    # In one /16, of whose /24s every second one comes and goes: each time its chunk is another one.
    coming = [f"10.1.{octet}.0/24" for octet in range(1, 256, 2)]
    staying = [f"10.1.{octet}.9" for octet in range(0, 256, 2)]
    routes = "".join(f"route add 10.1.{octet}.0/24 via 198.18.0.2 dev ext0 table 82\n" for octet in range(0, 256, 2))
    subprocess.run(["ip", "-batch", "-"], input=routes, text=True, check=True)
    f.settle()
    wrong, sent, over = [], [0], threading.Event()  # type: tuple[list[str], list[int], threading.Event]

    def send() -> None:
        while not over.is_set():
            for address in staying:
                fate = f.way(address)
                sent[0] += 1
                if fate != PEER:
                    wrong.append(f"{address}: {fate}")

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for verb in ("add", "del", "add", "del"):
            before = sent[0]
            lines = "".join(f"route {verb} {prefix} via 198.18.0.3 dev ext0 table 82\n" for prefix in coming)
            subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
            f.settle()
            while sent[0] < before + 64:
                f.follower.step(f.events, 0.01)
    finally:
        over.set()
        sender.join()
    assert wrong == []
    assert f.differences() == 0


def test_another_apply_writes_the_table_from_the_kernel(following: Following4) -> None:
    f = following
    f.route("add 203.0.113.0/24 via 198.18.0.2 dev ext0")
    f.settle()
    f.router.reopen(flowlet_timeout_s=0.2)
    f.router.plane.apply()
    assert f.way("203.0.113.9") == PEER, "at once, before the follower looks"
    f.route("add 203.0.114.0/24 via 198.18.0.2 dev ext0")
    f.settle()
    assert f.follower.counts.renewed >= 2
    assert f.way("203.0.114.9") == PEER
    assert f.differences() == 0


def test_many_next_hops_make_wider_numbers(following: Following4) -> None:
    f = following
    lines = "".join(
        f"neigh replace 198.18.0.{n} lladdr 02:4e:00:00:01:{n:02x} dev ext0 nud permanent\n"
        f"route add 10.{n}.0.0/17 via 198.18.0.{n} dev ext0 table 82\n"
        for n in range(5, 250)
    )
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    f.settle()
    lines = "".join(f"route add 11.{n}.0.0/17 via 198.18.0.{n} dev ext0 metric {n} table 82\n" for n in range(5, 250))
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    for n in range(1, 30):
        f.route(f"add 12.{n}.0.0/17 via 169.254.2.{n} dev int2 onlink")
    f.settle()
    assert f.way("10.249.1.1") == "02:4e:00:00:01:f9"
    assert f.way("12.29.1.1") == "02:52:00:02:00:1d"
    assert f.differences() == 0
