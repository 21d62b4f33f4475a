"""Routes that come and go: every server's data plane follows its kernel's table, and says what it cannot follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

FAR = {0: "via 198.18.0.2 dev ext0", 1: "via 169.254.0.1 dev int0 onlink"}
"""How n0 and the others reach the neighbour of port 0."""


@pytest.fixture(scope="module")
def following(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with `routing:`. What comes next changes it, and test_bgp.py looks at what stays when it goes."""
    with cluster.with_spec(cluster.spec.read_text() + "routing: {daemon: none, routes: 100000}\n"):
        done = cluster.verb("apply")
        assert done.code == 0, done.err
        yield cluster


def route(cluster: Cluster, verb: str, prefix: str, **options: str) -> None:
    """The same route by hand on all servers, to the neighbour of port 0."""
    for index in range(4):
        way = FAR[min(index, 1)] if verb != "del" else ""
        cluster.on(f"n{index}", "ip", "route", verb, prefix, *way.split(), "table", "82", *options.values())


def get(cluster: Cluster, server: str, address: str) -> Any:
    return json.loads(cluster.on(server, "rbops-node", "fib", "get", address, "--json"))


def audit(cluster: Cluster, server: str) -> Any:
    return json.loads(cluster.on(server, "rbops-node", "fib", "--audit", "--json", check=False))


def test_it_is_healthy_and_a_second_apply_changes_nothing(following: Cluster) -> None:
    done = following.verb("verify")
    assert done.code == 0, done.out + done.err
    done = following.verb("diff")
    assert done.code == 0, done.out + done.err
    following.healthy()
    for server in ("n0", "n1", "n2", "n3"):
        assert following.on(server, "systemctl", "is-active", "rbops-fib.service").strip() == "active"
        found = audit(following, server)
        assert (found["differences"], found["unresolved"]) == (0, 0)


def test_a_route_by_hand_carries_packets_through_the_router(following: Cluster) -> None:
    following.on("t0", "ip", "address", "add", "192.0.2.7/32", "dev", "lo")
    try:
        route(following, "add", "192.0.2.0/24")
        wait_for("the data planes", lambda: get(following, "n3", "192.0.2.7")["prefix"] == "192.0.2.0/24")
        wait_for(
            "n3's data plane",
            lambda: get(following, "n3", "192.0.2.7")["data_plane"]["entry"] == "server 0, port 0, adjacency 1",
        )
        said = following.on("t3", "ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "192.0.2.7")
        assert "3 received" in said
        assert get(following, "n0", "192.0.2.7")["data_plane"]["entry"].startswith("port ext0 to 02:4e:00:00:00:02")
        done = following.verb("verify")
        assert done.code == 0, done.out + done.err
        done = following.run("route", "get", str(following.spec), "192.0.2.7", "-i", str(following.inventory))
        assert done.out.count("192.0.2.0/24") == 4
        assert "server 0, port 0, adjacency 1" in done.out
        routes = json.loads(following.verb("status", "--format", "json").out)["servers"]["n3"]["node"]["routes"]
        assert routes["protocols"]["3"] == 1
        assert "Routes" in following.verb("status").out
    finally:
        route(following, "del", "192.0.2.0/24")
        following.on("t0", "ip", "address", "del", "192.0.2.7/32", "dev", "lo")
    wait_for("its end", lambda: get(following, "n3", "192.0.2.7")["data_plane"]["entry"] == "no route: the kernel")


def test_verify_names_what_the_data_plane_does_not_have(following: Cluster) -> None:
    following.on("n2", "systemctl", "stop", "rbops-fib.service")
    try:
        following.on("n2", "ip", "route", "add", "blackhole", "192.0.2.0/24", "table", "82")
        done = following.verb("verify")
        assert done.code == 1
        assert "rbops-fib.service does not run" in done.out + done.err
        assert audit(following, "n2")["differing"] == [
            {
                "addresses": "192.0.2.0-192.0.2.255",
                "data_plane": "no route: the kernel",
                "kernel": "dropped (blackhole)",
            }
        ]
        assert "rbops-fib inactive: routes are not followed" in following.verb("status").out
    finally:
        following.on("n2", "systemctl", "start", "rbops-fib.service")
    wait_for("n2", lambda: audit(following, "n2")["differences"] == 0)
    following.on("n2", "ip", "route", "del", "blackhole", "192.0.2.0/24", "table", "82")


def test_a_restart_loses_no_route(following: Cluster) -> None:
    following.on("n1", "ip", "route", "add", "unreachable", "192.0.2.0/24", "table", "82")
    following.on("n1", "systemctl", "restart", "rbops-fib.service")
    wait_for("n1", lambda: audit(following, "n1")["differences"] == 0)
    said = following.on("t1", "ping", "-n", "-c", "1", "-W", "5", "192.0.2.9", check=False)
    assert "From 198.18.1.1 icmp_seq=1 Destination Host Unreachable" in said
    following.on("n1", "ip", "route", "del", "unreachable", "192.0.2.0/24", "table", "82")


def test_a_cut_cable_leaves_routes_in_kernel_and_data_plane(following: Cluster) -> None:
    following.on("n3", "ip", "link", "set", "int0", "down")
    try:
        wait_for("n3", lambda: "int0" not in following.on("n3", "ip", "route", "show", "table", "82"))
        assert get(following, "n3", "198.18.0.2")["data_plane"]["entry"] == "server 0, port 0, adjacency 1"
        wait_for(
            "n3's own packets",
            lambda: "1 received" in following.on("t3", "ping", "-n", "-c", "1", "-W", "2", "198.18.0.2", check=False),
        )
        check_the_other_end(following)
    finally:
        following.on("n3", "ip", "link", "set", "int0", "up")
    wait_for(
        "the route's return",
        lambda: "dev int0" in following.on("n3", "ip", "route", "show", "198.18.0.2", "table", "82"),
    )
    wait_for("n0's routes' return", lambda: "via" in following.on("n0", *OVER_INT3))
    wait_for("n3", lambda: audit(following, "n3")["differences"] == 0)
    done = following.verb("verify", "-k", "routes or slow_path or forwards")
    assert done.code == 0, done.out
    assert not kernel_routes(following, "n0")


OVER_INT3 = ("ip", "route", "show", "table", "82", "dev", "int3")


def kernel_routes(cluster: Cluster, server: str) -> list[Any]:
    """What `rbops-node diff` says of the kernel's routes."""
    found = json.loads(cluster.on(server, "rbops-node", "diff", "--json", check=False))
    return [each for each in found if each["subject"] == "kernel routes"]


def check_the_other_end(following: Cluster) -> None:
    """n0's port is up, without a carrier: its routes stay moved, also when the watch puts something else back."""
    assert "NO-CARRIER" in following.on("n0", "ip", "link", "show", "dev", "int3")
    wait_for("n0's routes", lambda: not following.on("n0", *OVER_INT3).strip())
    following.on("n0", "ip", "rule", "del", "pref", "85")
    wait_for("the watch", lambda: "85:" in following.on("n0", "ip", "rule", "show"))
    assert not following.on("n0", *OVER_INT3).strip()
    assert "via 169.254.3." in following.on("n0", "ip", "route", "show", "198.18.3.0/24", "table", "82")
    assert not kernel_routes(following, "n0")
    for server, source, other in (("n0", "198.18.0.1", "198.18.3.1"), ("n3", "198.18.3.1", "198.18.0.1")):
        said = following.on(server, "ping", "-n", "-c", "5", "-i", "0.2", "-W", "5", "-I", source, other)
        assert "5 received" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("get",), 2, "rbops-node fib get ADDRESS"),
        (("get", "192.0.2"), 2, "does not appear to be an IPv4 or IPv6 address"),
        (("put", "192.0.2.1"), 2, "not understood"),
    ],
)
def test_what_is_not_understood(following: Cluster, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = following.on("n0", "sh", "-c", f"rbops-node fib {' '.join(arguments)} 2>&1; echo code $?")
    assert f"code {code}" in said
    assert says in said
