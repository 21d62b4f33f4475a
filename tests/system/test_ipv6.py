"""IPv6 beside IPv4: forwarded by the data planes, answered by the kernels, and taken away again without a trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVERS = ("n0", "n1", "n2", "n3")
PORTS = "".join(
    f'  - {{id: {port}, ipv6: {{address: "{own}", neighbors: [{{address: "{near}"{mac}}}]}}}}\n'
    for port, own, near, mac in (
        (0, "2001:db8:0:a0::1/64", "2001:db8:0:a0::2", ', mac: "02:4e:00:00:00:02"'),
        (1, "2001:db8:0:a1::/127", "2001:db8:0:a1::1", ', mac: "02:4e:00:01:00:02"'),
        (2, "2001:db8:0:a2::1/64", "2001:db8:0:a2::2", ""),
        (3, "2001:db8:0:a3::1/64", "2001:db8:0:a3::2", ', mac: "02:4e:00:03:00:02"'),
    )
)
ROUTE = '  - {prefix: "2001:db8:f::/48", via: "2001:db8:0:a3::2"}\n'
TESTERS = {
    "t0": ("2001:db8:0:a0::2/64", "2001:db8:0:a0::1"),
    "t1": ("2001:db8:0:a1::1/127", "2001:db8:0:a1::"),
    "t2": ("2001:db8:0:a2::2/64", "2001:db8:0:a2::1"),
    "t3": ("2001:db8:0:a3::2/64", "2001:db8:0:a3::1"),
}


@pytest.fixture(scope="module")
def dual(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with IPv6 on every port, and testers that have it; afterwards as it was."""
    before = cluster.spec.read_text()
    cluster.spec.write_text(with_ipv6(before))
    done = cluster.verb("apply")
    assert done.code == 0, done.err
    for tester, (address, router) in TESTERS.items():
        cluster.on(tester, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.all.accept_ra=0")
        device = cluster.lab.testers[int(tester[1])].device
        cluster.on(tester, "ip", "address", "add", address, "dev", device, "nodad")
        cluster.on(tester, "ip", "-6", "route", "add", "default", "via", router)
    yield cluster
    for tester in TESTERS:
        cluster.on(tester, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    cluster.spec.write_text(before)
    done = cluster.verb("apply")
    assert done.code == 0, done.err
    for server in SERVERS:
        rules = cluster.on(server, "ip", "-6", "rule", "show")
        assert [line.split(":")[0] for line in rules.splitlines()] == ["0", "32766"], rules
        assert cluster.on(server, "ip", "-6", "route", "show", "table", "82", check=False) == ""
        assert "ip6 rbops" not in cluster.on(server, "nft", "list", "tables")
        assert cluster.on(server, "sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"


def with_ipv6(spec: str) -> str:
    """Ports and a route more, before the routes that are there."""
    return re.sub(r"^routes:.*\n", lambda found: f"ports:\n{PORTS}{found[0]}{ROUTE}", spec, count=1, flags=re.MULTILINE)


def counted(cluster: Cluster, server: str) -> Any:
    return json.loads(cluster.on(server, "rbops-node", "counters"))["total"]


def ping(cluster: Cluster, tester: str, address: str, *options: str) -> str:
    return cluster.on(tester, "ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "5", *options, address, check=False)


def test_it_is_healthy_and_a_second_apply_changes_nothing(dual: Cluster) -> None:
    done = dual.verb("diff")
    assert done.code == 0, done.out
    done = dual.verb("verify")
    assert done.code == 0, done.out + done.err
    dual.healthy()


@pytest.mark.parametrize("to", ["t1", "t2", "t3"])
def test_every_port_reaches_every_other(dual: Cluster, to: str) -> None:
    assert "3 received" in ping(dual, "t0", TESTERS[to][0].partition("/")[0])
    assert "3 received" in ping(dual, to, "2001:db8:0:a0::2")


@pytest.mark.parametrize("tester", sorted(TESTERS))
def test_the_router_answers_on_all_its_addresses(dual: Cluster, tester: str) -> None:
    for _, router in TESTERS.values():
        assert "3 received" in ping(dual, tester, router), router


def test_the_self_test_sends_both_families(dual: Cluster) -> None:
    """Port 2's neighbour has no MAC in the spec, so it is left out of IPv6."""
    done = dual.verb("selftest", "--quick", "--format", "json")
    assert done.code == 0, done.out + done.err
    phases = {phase["name"]: phase for phase in done.json["phases"]}
    assert list(phases) == ["matrix", "pair", "matrix IPv6", "pair IPv6"]
    assert [phase["lost"] for phase in phases.values()] == [0] * 4
    pairs = {(pair["source"], pair["destination"]) for pair in phases["matrix IPv6"]["pairs"] if pair["received"]}
    assert pairs == {(a, b) for a in (0, 1, 3) for b in (0, 1, 3) if a != b}
    assert {path["from"] for path in phases["pair IPv6"]["spread"] if path["packets"]} == {"n0"}
    assert any("IPv6 is not tested on port 2" in note for note in done.json["notes"])


def test_the_data_plane_forwards_and_not_the_kernel(dual: Cluster) -> None:
    dual.on("t3", "ip", "address", "add", "2001:db8:f::7/128", "dev", "lo", "nodad")
    before = counted(dual, "n0"), counted(dual, "n3")
    assert "3 received" in ping(dual, "t0", "2001:db8:f::7", "-s", "900")
    after = counted(dual, "n0"), counted(dual, "n3")
    sent = [sum(now["forwarded"][way] for way in ("direct", "phase1")) for now in (before[0], after[0])]
    assert sent[1] - sent[0] >= 3
    assert after[1]["forwarded"]["egress"] - before[1]["forwarded"]["egress"] >= 3
    assert after[0]["punted"]["ipv6"] == before[0]["punted"]["ipv6"] == 0


def test_an_address_is_traced_through_all_servers(dual: Cluster) -> None:
    done = dual.run("route", "get", str(dual.spec), "2001:db8:f::1", "-i", str(dual.inventory), "--format", "json")
    found = done.json["servers"]
    assert {found[server]["prefix"] for server in SERVERS} == {"2001:db8:f::/48"}
    assert found["n3"]["hop"] == "port 3 to 2001:db8:0:a3::2"
    assert found["n3"]["data_plane"]["entry"] == "port ext3 to 02:4e:00:03:00:02"
    assert {found[server]["hop"] for server in SERVERS[:3]} == {"port 3 adjacency 2"}
    assert {found[server]["data_plane"]["entry"] for server in SERVERS[:3]} == {"server 3, port 3, adjacency 2"}


def test_errors_come_from_the_port_that_a_packet_came_in_by(dual: Cluster) -> None:
    assert "From 2001:db8:0:a0::1 icmp_seq=1 Time exceeded" in ping(dual, "t0", "2001:db8:0:a3::2", "-t", "1")
    assert "From 2001:db8:0:a0::1 icmp_seq=1 Destination unreachable: No route" in ping(dual, "t0", "2001:db9::1")


def test_what_goes_away_is_put_back(dual: Cluster) -> None:
    def there() -> bool:
        return "2001:db8:f::/48" in dual.on("n1", "ip", "-6", "route", "show", "table", "82")

    assert there()
    dual.on("n1", "ip", "-6", "route", "del", "2001:db8:f::/48", "table", "82")
    wait_for("the route", there)
    dual.on("n1", "ip", "-6", "rule", "del", "pref", "84")
    wait_for("the rule", lambda: "84:" in dual.on("n1", "ip", "-6", "rule", "show"))
    dual.on("n1", "ip", "address", "del", "2001:db8:0:a1::/127", "dev", "ext1")
    wait_for(
        "the address", lambda: "2001:db8:0:a1::/127" in dual.on("n1", "ip", "-6", "address", "show", "dev", "ext1")
    )


def test_neighbors_are_found_by_the_kernel_where_the_spec_has_no_mac(dual: Cluster) -> None:
    before = counted(dual, "n2")["punted"]
    dual.on("n2", "ip", "-6", "neighbour", "flush", "dev", "ext2")
    assert "3 received" in ping(dual, "t0", "2001:db8:0:a2::2")
    after = counted(dual, "n2")["punted"]
    assert after["unresolved"] - before["unresolved"] >= 3
    assert after["ndp"] > before["ndp"]


def test_routes_by_hand_are_followed(dual: Cluster) -> None:
    """With `routing:` the data planes follow the kernels; the fixture takes it away again."""
    dual.spec.write_text(dual.spec.read_text() + "routing: {daemon: none, routes: 100000}\n")
    done = dual.verb("apply")
    assert done.code == 0, done.err
    dual.on("t3", "ip", "address", "add", "2001:db8:e::7/128", "dev", "lo", "nodad")
    for server, way in {
        "n3": ("via", "2001:db8:0:a3::2", "dev", "ext3"),
        **dict.fromkeys(SERVERS[:3], ("via", "fe80::5252:3:2", "dev", "int3")),
    }.items():
        dual.on(server, "ip", "-6", "route", "add", "2001:db8:e::/48", *way, "table", "82")
        wait_for(f"{server}'s data plane", lambda server=server: followed(dual, server) != "no route: the kernel")
    assert "3 received" in ping(dual, "t0", "2001:db8:e::7")
    assert followed(dual, "n0") == "server 3, port 3, adjacency 2"
    for server in SERVERS:
        found = json.loads(dual.on(server, "rbops-node", "fib", "--audit", "--json", check=False))
        assert (found["differences"], found["unresolved"]) == (0, 0), found
        assert found["ipv6_routes"] > 8
    done = dual.verb("verify")
    assert done.code == 0, done.out + done.err
    dual.on("n0", "ip", "-6", "route", "del", "2001:db8:e::/48", "table", "82")
    wait_for("its end", lambda: followed(dual, "n0") == "no route: the kernel")
    for server in SERVERS[1:]:
        dual.on(server, "ip", "-6", "route", "del", "2001:db8:e::/48", "table", "82")


def followed(cluster: Cluster, server: str) -> str:
    """What a server's data plane does with packets for the prefix that comes and goes."""
    return str(
        json.loads(cluster.on(server, "rbops-node", "fib", "get", "2001:db8:e::7", "--json"))["data_plane"]["entry"]
    )
