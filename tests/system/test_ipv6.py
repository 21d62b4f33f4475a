"""IPv6 beside IPv4: forwarded by the data planes, answered by the kernels, and taken away again without a trace."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    with cluster.with_spec(with_ipv6(cluster.spec.read_text())):
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


def ping4(cluster: Cluster, address: str, *options: str) -> str:
    """The same of IPv4, from t0."""
    return cluster.on("t0", "ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", *options, address, check=False)


def test_it_is_healthy_and_a_second_apply_changes_nothing(dual: Cluster) -> None:
    done = dual.verb("diff")
    assert done.code == 0, done.out
    done = dual.verb("verify")
    assert done.code == 0, done.out + done.err


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


@contextmanager
def smaller_port(cluster: Cluster, mtu: int) -> Iterator[None]:
    """Port 3, of n3, takes packets of ``mtu`` bytes, as its tester does."""
    place, device = "/etc/rbops/node.json", cluster.lab.testers[3].device
    change = (
        f"import json; at = '{place}'; node = json.load(open(at)); "
        f"[port.update(mtu={mtu}) for port in node['ports'] if port['name'] == 'ext3']; json.dump(node, open(at, 'w'))"
    )
    cluster.on("n3", "cp", "-p", place, "/run/before.json")
    cluster.on("n3", "python3", "-c", change)
    cluster.on("t3", "ip", "link", "set", device, "mtu", str(mtu))
    try:
        cluster.on("n3", "rbops-node", "apply")
        yield
    finally:
        cluster.on("n3", "mv", "/run/before.json", place)
        cluster.on("n3", "rbops-node", "apply")
        cluster.on("t3", "ip", "link", "set", device, "mtu", "1500")
        for family in ("-4", "-6"):
            cluster.on("t0", "ip", family, "route", "flush", "cache")


def test_senders_are_told_how_large_packets_may_be(dual: Cluster) -> None:
    """By the server whose port is too small for them, from its external address: it has a way from everywhere."""
    with smaller_port(dual, 1400):
        before = [counted(dual, server)["punted"]["too_big"] for server in SERVERS]
        said = ping4(dual, "198.18.3.2", "-M", "do", "-s", "1472")
        assert "From 198.18.3.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)" in said
        said = ping(dual, "t0", "2001:db8:0:a3::2", "-M", "do", "-s", "1452")
        assert "From 2001:db8:0:a3::1 icmp_seq=1 Packet too big: mtu=1400" in said
        after = [counted(dual, server)["punted"]["too_big"] for server in SERVERS]
        assert [now > then for then, now in zip(before, after, strict=True)] == [False, False, False, True]
        # Who heard that sends smaller ones; of IPv4 the router makes fragments where it may.
        assert "3 received" in ping(dual, "t0", "2001:db8:0:a3::2", "-s", "1452")
        assert "3 received" in ping4(dual, "198.18.3.2", "-M", "do", "-s", "1372")
        assert "3 received" in ping4(dual, "198.18.3.2", "-M", "dont", "-s", "1472")
    assert "3 received" in ping4(dual, "198.18.3.2", "-M", "do", "-s", "1472")
    assert "3 received" in ping(dual, "t0", "2001:db8:0:a3::2", "-M", "do", "-s", "1452")
    done = dual.verb("diff")
    assert done.code == 0, done.out


def test_senders_are_told_that_a_server_is_gone(dual: Cluster) -> None:
    """Nothing leads to n3 any more: the input server answers for both families, from its own port's address."""
    before = counted(dual, "n0")["dropped"]["unreachable"]
    for port in ("int0", "int1", "int2"):
        dual.on("n3", "ip", "link", "set", port, "down")
    try:
        told = "From 198.18.0.1 icmp_seq=1 Destination Host Unreachable"
        wait_for("the answer", lambda: told in ping4(dual, "198.18.3.2"))
        told = "From 2001:db8:0:a0::1 icmp_seq=1 Destination unreachable: Address unreachable"
        wait_for("that of IPv6", lambda: told in ping(dual, "t0", "2001:db8:0:a3::2"))
        assert counted(dual, "n0")["dropped"]["unreachable"] >= before + 2
        assert "3 received" in ping(dual, "t0", "2001:db8:0:a1::1")
        connect = "import socket; s = socket.socket({}); s.settimeout(20); print(s.connect_ex(('{}', 80)))"
        for family, address in (("socket.AF_INET", "198.18.3.2"), ("socket.AF_INET6", "2001:db8:0:a3::2")):
            said = dual.on("t0", "python3", "-c", connect.format(family, address)).strip()
            assert said == str(errno.EHOSTUNREACH), "a program is told at once"
    finally:
        for port in ("int0", "int1", "int2"):
            dual.on("n3", "ip", "link", "set", port, "up")
        dual.wait_for_cables()
    wait_for("n3", lambda: "3 received" in ping(dual, "t0", "2001:db8:0:a3::2"))


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
    dual.spec.write_text(dual.spec.read_text() + BY_HAND)
    done = dual.verb("apply")
    assert done.code == 0, done.err
    dual.on("t3", "ip", "address", "add", "2001:db8:e::7/128", "dev", "lo", "nodad")
    for server, path in {
        "n3": ("via", "2001:db8:0:a3::2", "dev", "ext3"),
        **dict.fromkeys(SERVERS[:3], ("via", "fe80::5252:3:2", "dev", "int3")),
    }.items():
        dual.on(server, "ip", "-6", "route", "add", "2001:db8:e::/48", *path, "table", "82")
        wait_for(
            f"{server}'s data plane", lambda server=server: way(dual, server, "2001:db8:e::7") != "no route: the kernel"
        )
    assert "3 received" in ping(dual, "t0", "2001:db8:e::7")
    assert way(dual, "n0", "2001:db8:e::7") == "server 3, port 3, adjacency 2"
    for server in SERVERS:
        found = json.loads(dual.on(server, "rbops-node", "fib", "--audit", "--json", check=False))
        assert (found["differences"], found["unresolved"]) == (0, 0), found
        assert found["ipv6_routes"] > 8
    done = dual.verb("verify")
    assert done.code == 0, done.out + done.err
    dual.on("n0", "ip", "-6", "route", "del", "2001:db8:e::/48", "table", "82")
    wait_for("its end", lambda: way(dual, "n0", "2001:db8:e::7") == "no route: the kernel")
    for server in SERVERS[1:]:
        dual.on(server, "ip", "-6", "route", "del", "2001:db8:e::/48", "table", "82")


PEER = """
log "{folder}/log" all;
router id 198.18.{port}.2;
protocol device {{ }}
filter received {{ krt_prefsrc = {source}; if source = RTS_BGP then accept; reject; }}
protocol kernel {{ ipv6 {{ import none; export filter received; }}; }}
filter received4 {{ krt_prefsrc = {source4}; if source = RTS_BGP then accept; reject; }}
protocol kernel {{ ipv4 {{ import none; export filter received4; }}; }}
protocol static net0 {{ ipv6; route {prefix} blackhole; }}
protocol static net4 {{ ipv4; route {prefix4} blackhole; }}
protocol bgp uplink {{
  local {near} as {number};
  neighbor {router} as 64512;
  connect retry time 2;
  connect delay time 1;
  error wait time 1, 2;
  hold time 9;
  ipv6 {{ import all; export where source = RTS_STATIC; }};
  ipv4 {{ extended next hop on; import all; export where source = RTS_STATIC; }};
}}
{more}
"""
FOUND = (
    'protocol radv {{ interface "{}" {{ default lifetime 0; min delay 3; min ra interval 3; max ra interval 4; }}; }}'
)
"""By this a router that knows the peer's port alone finds it, and begins the session."""
UNNUMBERED = '  - {id: 2, address: 198.18.2.1/32, ipv6: {address: "2001:db8:0:a2::1/128"}}'
"""Port 2 without a subnet: its neighbour is link-local alone."""
BY_HAND = "routing: {daemon: none, routes: 100000}\n"
ROUTING = """\
routing:
  daemon: {daemon}
  routes: 100000
  as: 64512
  announce: ["2001:db8:aa::/48"]
  neighbors:
    - {{address: "2001:db8:0:a0::2", as: 65000, families: [ipv4, ipv6]}}
    - {{{near}port: 2, as: 65002, families: [ipv4, ipv6]}}
    - {{address: "2001:db8:0:a3::2", as: 65003, families: [ipv4, ipv6], import: ["2001:db8:c3::/48", 100.64.3.0/24]}}
"""
OSPF = '  ospf: [{port: 1, cost: 7, routers: ["fe80::4e:ff:fe01:2"]}]\n'
"""Both versions on port 1; the router there is known to all servers by its link-local address."""
BESIDE = """\
log "{folder}/log" all;
router id 198.18.1.2;
protocol device {{ }}
protocol kernel {{ ipv4 {{ import none; export where source != RTS_STATIC; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source != RTS_STATIC; }}; }}
protocol static own4 {{ ipv4; route 100.64.1.0/24 blackhole; }}
protocol static own6 {{ ipv6; route 2001:db8:c1::/48 blackhole; }}
protocol ospf v2 four {{
  ipv4 {{ import all; export where source = RTS_STATIC; }};
  area 0 {{ interface "{device}"; }};
}}
protocol ospf v3 six {{
  ipv6 {{ import all; export where source = RTS_STATIC; }};
  area 0 {{ interface "{device}"; }};
}}
"""
SERVICES = {"bird": "rbops-bird.service", "frr": "rbops-frr.service"}


class Peer:
    """BIRD of another AS in a tester's namespace; it has the first address of its prefix, and of 100.64.PORT.0/24.

    ``near`` and ``router`` are its address and the router's; left out: those of the port's subnet.
    """

    def __init__(
        self, cluster: Cluster, port: int, prefix: str, near: str = "", router: str = "", more: str = ""
    ) -> None:
        self.cluster, self.tester = cluster, f"t{port}"
        self.folder = cluster.folder / f"peer6-{port}"
        self.folder.mkdir(exist_ok=True)
        self.own = prefix.replace("/48", "1")
        self.own4, prefix4 = f"100.64.{port}.1", f"100.64.{port}.0/24"
        sources = {"source": self.own, "source4": self.own4}
        sources |= {"prefix": prefix, "prefix4": prefix4, "more": more}
        ends = {"near": near or f"2001:db8:0:a{port}::2", "router": router or f"2001:db8:0:a{port}::1"}
        text = PEER.format(folder=self.folder, port=port, number=65000 + port, **ends, **sources)
        (self.folder / "bird.conf").write_text(text)
        cluster.on(self.tester, "ip", "address", "add", f"{self.own}/128", "dev", "lo", "nodad")
        cluster.on(self.tester, "ip", "address", "add", f"{self.own4}/32", "dev", "lo")
        files = ["-c", str(self.folder / "bird.conf"), "-s", str(self.folder / "ctl"), "-P", str(self.folder / "pid")]
        cluster.on(self.tester, "bird", *files)

    def ask(self, command: str) -> str:
        return self.cluster.on(self.tester, "birdc", "-s", str(self.folder / "ctl"), command, check=False)

    def path_to(self, prefix: str) -> str | None:
        found = re.search(r"BGP\.as_path: (.*)", self.ask(f"show route for {prefix} all primary"))
        return found[1].strip() if found else None

    def end(self) -> None:
        pid = (self.folder / "pid").read_text().strip()
        self.cluster.on(self.tester, "kill", pid, check=False)
        wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())
        self.cluster.on(self.tester, "ip", "address", "del", f"{self.own}/128", "dev", "lo", check=False)
        self.cluster.on(self.tester, "ip", "address", "del", f"{self.own4}/32", "dev", "lo", check=False)


@pytest.mark.parametrize(
    ("daemon", "near"), [("bird", 'address: "fe80::7", '), ("frr", ""), ("bird", "")], ids=["bird", "frr", "by_port"]
)
def test_two_ases_reach_each_other_by_bgp(dual: Cluster, daemon: str, near: str) -> None:
    """BIRD or FRR on the servers, one after the other, and BIRD in three testers.

    Port 2's neighbour is known by its link-local address, or by its port alone.
    """
    spec = re.sub(r"^  - \{id: 2, .*", UNNUMBERED, dual.spec.read_text().replace(BY_HAND, ""), flags=re.MULTILINE)
    # FRR has OSPF in a VRF alone, which labs have where the kernel of this machine does.
    more = OSPF if near else ""
    dual.spec.write_text(spec.partition("\nrouting:")[0] + "\n" + ROUTING.format(daemon=daemon, near=near) + more)
    done = dual.verb("apply")
    assert done.code == 0, done.err
    for name, unit in SERVICES.items():
        for server in SERVERS:
            active = dual.on(server, "systemctl", "is-active", unit, check=False).strip() == "active"
            assert active == (name == daemon), (server, unit)
    zero, three = Peer(dual, 0, "2001:db8:c0::/48"), Peer(dual, 3, "2001:db8:c3::/48")
    two = unnumbered(dual)
    try:
        wait_for("the far AS", lambda: zero.path_to("2001:db8:c3::/48") == "64512 65003", 60)
        wait_for("the way back", lambda: three.path_to("2001:db8:c0::/48") == "64512 65000", 60)
        assert zero.path_to("2001:db8:aa::/48") == "64512"
        far = "server 3, port 3, adjacency 2"
        for server in SERVERS[:3]:
            wait_for(server, lambda server=server: way(dual, server, "2001:db8:c3::1") == far)
        wait_for("n3", lambda: way(dual, "n3", "2001:db8:c3::1") == "port ext3 to 02:4e:00:03:00:02")
        wait_for("n0", lambda: way(dual, "n0", "2001:db8:c0::1") == "port ext0 to 02:4e:00:00:00:02")
        before = counted(dual, "n0")["forwarded"]
        wait_for("packets", lambda: "3 received" in ping(dual, "t0", "2001:db8:c3::1", "-I", "2001:db8:c0::1"))
        after = counted(dual, "n0")["forwarded"]
        assert sum(after[name] - before[name] for name in ("direct", "phase1")) >= 3
        carries_ipv4_with_ipv6_next_hops(dual, zero, three)
        reaches_a_port_without_a_subnet(dual, two, daemon)
        if more:
            speaks_ospf(dual)
        for server in SERVERS:
            wait_for(f"{server}'s audit", lambda server=server: differences(dual, server) == 0)
        done = dual.verb("verify")
        assert done.code == 0, done.out + done.err
        sessions = json.loads(dual.on("n0", "rbops-node", "daemon", "status", "--json"))["sessions"]
        assert all(each["up"] for each in sessions), sessions
        three.ask("disable net0")
        wait_for("its end at the other AS", lambda: zero.path_to("2001:db8:c3::/48") is None)
        wait_for("its end on n1", lambda: way(dual, "n1", "2001:db8:c3::1") == "no route: the kernel")
    finally:
        for each in (zero, two, three):
            each.end()
        dual.on("t2", "ip", "address", "del", "fe80::7/64", "dev", dual.lab.testers[2].device)


def speaks_ospf(dual: Cluster) -> None:
    """A router on port 1: what it has is in all data planes by one look-up, it has what BGP and the router have."""
    folder, own = dual.folder / "ospf1", "2001:db8:c1::1"
    folder.mkdir(exist_ok=True)
    (folder / "bird.conf").write_text(BESIDE.format(folder=folder, device=dual.lab.testers[1].device))
    dual.on("t1", "ip", "address", "add", f"{own}/128", "dev", "lo", "nodad")
    files = ["-c", str(folder / "bird.conf"), "-s", str(folder / "ctl"), "-P", str(folder / "pid")]
    dual.on("t1", "bird", *files)
    try:
        for address, number in ((own, 3), ("100.64.1.1", 1)):
            for server in SERVERS:
                far = "port ext1 to 02:4e:00:01:00:02" if server == "n1" else f"server 1, port 1, adjacency {number}"
                wait_for(server, lambda server=server, far=far, to=address: way(dual, server, to) == far, 120)
        for table, prefix in (("-6", "2001:db8:c0::/48"), ("-6", "2001:db8:aa::/48"), ("-4", "100.64.0.0/24")):
            ask = ("ip", table, "route", "show", prefix, "proto", "bird")
            wait_for(prefix, lambda ask=ask: dual.on("t1", *ask) != "", 60)
        wait_for("packets", lambda: "3 received" in ping(dual, "t0", own, "-I", "2001:db8:c0::1"))
        before = [counted(dual, server) for server in SERVERS]
        assert "3 received" in ping(dual, "t0", own, "-I", "2001:db8:c0::1")
        moved = list(zip(before, [counted(dual, server) for server in SERVERS], strict=True))
        egress = [now["forwarded"]["egress"] - then["forwarded"]["egress"] for then, now in moved]
        assert min(egress[0], egress[1]) >= 3, "by the data planes, both ways"
        found = json.loads(dual.on("n1", "rbops-node", "daemon", "status", "--json"))["sessions"]
        states = {each["name"]: each["info"] for each in found if each["protocol"] == "ospf"}
        assert states == {"rbops_ospf": "Running", "rbops_ospf6": "Running"}
    finally:
        pid = (folder / "pid").read_text().strip()
        dual.on("t1", "kill", pid, check=False)
        wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())
        dual.on("t1", "ip", "address", "del", f"{own}/128", "dev", "lo")


def unnumbered(dual: Cluster) -> Peer:
    """AS 65002 on port 2: it knows the router by its link-local address alone, and is known by its own."""
    device = dual.lab.testers[2].device
    dual.on("t2", "ip", "address", "add", "fe80::7/64", "dev", device, "nodad")
    said = json.loads(dual.on("n2", "ip", "-json", "-6", "address", "show", "dev", "ext2", "scope", "link"))
    (own,) = (info["local"] for link in said for info in link.get("addr_info", ()) if "local" in info)
    return Peer(dual, 2, "2001:db8:c2::/48", "fe80::7", f"{own}%'{device}'", FOUND.format(device))


def reaches_a_port_without_a_subnet(dual: Cluster, two: Peer, daemon: str) -> None:
    """Both families between a link-local neighbour and other servers' ports are the data planes', both ways."""
    for prefix in ("2001:db8:c0::/48", "100.64.0.0/24"):
        wait_for(prefix, lambda prefix=prefix: two.path_to(prefix) == "64512 65000", 60)
    # FRR tells both of its addresses, and BIRD in the tester takes the global one, whose subnet it has.
    hop = "2001:db8:0:a2::1" if daemon == "frr" else "fe80::"
    assert f"via inet6 {hop}" in dual.on("t2", "ip", "route", "show", "100.64.0.0/24")
    for address in ("2001:db8:c2::1", "100.64.2.1"):
        for server in SERVERS:
            far = "port ext2 to 02:4e:00:02:00:02" if server == "n2" else "server 2, port 2, adjacency 1"
            wait_for(server, lambda server=server, far=far, address=address: way(dual, server, address) == far)
    wait_for("IPv6", lambda: "3 received" in ping(dual, "t0", "2001:db8:c2::1", "-I", "2001:db8:c0::1"))
    wait_for("IPv4", lambda: "3 received" in ping4(dual, "100.64.2.1", "-I", "100.64.0.1"))
    before = [counted(dual, server) for server in SERVERS]
    assert "3 received" in ping(dual, "t0", "2001:db8:c2::1", "-I", "2001:db8:c0::1")
    assert "3 received" in ping4(dual, "100.64.2.1", "-I", "100.64.0.1")
    moved = list(zip(before, [counted(dual, server) for server in SERVERS], strict=True))
    for reason in ("no_route", "unresolved"):
        assert [now["punted"][reason] - then["punted"][reason] for then, now in moved] == [0] * 4
    egress = [now["forwarded"]["egress"] - then["forwarded"]["egress"] for then, now in moved]
    assert min(egress[0], egress[2]) >= 6


def carries_ipv4_with_ipv6_next_hops(dual: Cluster, zero: Peer, three: Peer) -> None:
    """RFC 8950: the same sessions carry IPv4; its packets are the data planes' from port to port, both ways."""
    wait_for("the far AS' IPv4", lambda: zero.path_to("100.64.3.0/24") == "64512 65003", 60)
    wait_for("the way back", lambda: three.path_to("100.64.0.0/24") == "64512 65000", 60)
    found = "via inet6 2001:db8:0:a3::2 dev ext3", "via inet6 fe80::5252:3:2 dev int3"
    for server in SERVERS:
        far = "server 3, port 3, adjacency 2"
        if server == "n3":
            far = "port ext3 to 02:4e:00:03:00:02"
        wait_for(server, lambda server=server, far=far: way(dual, server, "100.64.3.1") == far)
        assert found[server != "n3"] in dual.on(server, "ip", "route", "show", "100.64.3.0/24", "table", "82")
    wait_for("n0", lambda: way(dual, "n0", "100.64.0.1") == "port ext0 to 02:4e:00:00:00:02")
    assert "via inet6 2001:db8:0:a0::1" in dual.on("t0", "ip", "route", "show", "100.64.3.0/24")
    command = ("ping", "-n", "-c", "20", "-i", "0.05", "-W", "5", "-I", "100.64.0.1", "100.64.3.1")
    wait_for("packets", lambda: "20 received" in dual.on("t0", *command, check=False))
    before = [counted(dual, server) for server in SERVERS]
    assert "20 received" in dual.on("t0", *command)
    moved = list(zip(before, [counted(dual, server) for server in SERVERS], strict=True))
    for reason in ("no_route", "unresolved"):
        assert [now["punted"][reason] - then["punted"][reason] for then, now in moved] == [0] * 4
    egress = [now["forwarded"]["egress"] - then["forwarded"]["egress"] for then, now in moved]
    assert min(egress[0], egress[3]) >= 20


def way(cluster: Cluster, server: str, address: str) -> str:
    """What a server's data plane does with packets for an address."""
    said = cluster.on(server, "rbops-node", "fib", "get", address, "--json")
    return str(json.loads(said)["data_plane"]["entry"])


def differences(cluster: Cluster, server: str) -> int:
    return int(json.loads(cluster.on(server, "rbops-node", "fib", "--audit", "--json", check=False))["differences"])
