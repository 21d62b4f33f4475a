"""FRR on every server in BIRD's place, and BIRD of other ASs beside the router: routes come, go and move."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.system.ases import (
    PASSWORD,
    ROUTING,
    SERVERS,
    entry,
    meet,
    outlive,
    ping,
    routes_go_and_come,
    sessions,
    three_ases,
)
from tests.system.driver import Cluster, wait_for
from tests.system.peers import Peer, kill
from tests.system.test_routing import audit

pytestmark = [pytest.mark.lab, pytest.mark.root]

FRR = ROUTING.replace("daemon: bird", "daemon: frr").replace("bfd: 100ms", "bfd: 1s")
"""With more patience: this machine may have other work."""


@pytest.fixture(scope="module")
def router(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with BIRD, then with FRR; afterwards as it was."""
    before = cluster.spec.read_text()
    path = cluster.folder / "peer0.password"
    path.touch(0o600)
    path.write_text(PASSWORD + "\n")
    with cluster.with_spec(before + ROUTING):
        for routing in (ROUTING, FRR):
            cluster.spec.write_text(before + routing)
            done = cluster.verb("apply", "--diff")
            assert done.code == 0, done.err
            assert PASSWORD not in done.out + done.err
        yield cluster
    done = cluster.verb("apply")
    assert done.code == 0, done.err
    for server in SERVERS:
        assert cluster.on(server, "systemctl", "is-active", "rbops-frr.service", check=False).strip() == "inactive"
        assert cluster.on(server, "sh", "-c", "ls -d /etc/rbops/frr /run/rbops-frr 2>/dev/null", check=False) == ""
        assert routes(cluster, server) == ""
    assert cluster.verb("diff").code == 0


@pytest.fixture(scope="module")
def peers(router: Cluster) -> Iterator[dict[int, Peer]]:
    with three_ases(router) as found:
        yield found


def routes(router: Cluster, server: str) -> str:
    """What a daemon left in the kernel."""
    return "".join(router.on(server, "ip", "route", "show", "table", "all", "proto", each) for each in ("bgp", "196"))


def test_two_ases_reach_each_other_through_the_router(router: Cluster, peers: dict[int, Peer]) -> None:
    meet(router, peers)
    wait_for("n2's data plane", lambda: entry(router, "n2", "192.0.2.1") == "server 3, port 3, adjacency 1")
    assert entry(router, "n0", "100.64.0.1").startswith("port ext0 to ")
    assert "3 received" in ping(router)
    for server in SERVERS:
        wait_for(server, lambda server=server: audit(router, server)["differences"] == 0)
    assert router.verb("verify").code == 0
    assert router.verb("diff").code == 0
    said = json.loads(router.verb("status", "--format", "json").out)["servers"]["n0"]
    assert said["problems"] == []
    assert {each["name"] for each in said["node"]["daemon"]["sessions"]} == set(sessions(router, "n0"))
    wait_for("all sessions", lambda: all(each["info"] == "Established" for each in sessions(router, "n0").values()))
    found = sessions(router, "n0")
    assert set(found) == {"port0_198_18_0_2", "server_1", "server_2", "server_3"}
    assert (found["port0_198_18_0_2"]["imported"], found["port0_198_18_0_2"]["as"]) == (1, 65000)


def test_the_other_daemon_is_gone(router: Cluster, peers: dict[int, Peer]) -> None:
    del peers
    for server in SERVERS:
        assert router.on(server, "systemctl", "is-active", "rbops-bird.service", check=False).strip() == "inactive"
        assert router.on(server, "sh", "-c", "ls -d /etc/rbops/bird /run/rbops-bird 2>/dev/null", check=False) == ""
        assert "proto bird" not in router.on(server, "ip", "route", "show", "table", "82")


def test_passwords_are_nowhere_but_in_their_file(router: Cluster, peers: dict[int, Peer]) -> None:
    del peers
    assert router.on("n0", "stat", "-c", "%a %U", "/etc/rbops/frr/keys.conf").split() == ["600", "root"]
    assert router.on("n0", "stat", "-c", "%a %U", "/run/rbops-frr/frr.conf").split() == ["400", "frr"]
    said = router.on("n0", "sh", "-c", "journalctl --no-pager; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert PASSWORD not in said
    where = router.on("n0", "grep", "-rl", PASSWORD, "/etc", "/run", "/var", "/tmp", check=False).split()
    assert sorted(where) == ["/etc/rbops/frr/keys.conf", "/run/rbops-frr/frr.conf"]


def test_routes_go_and_come(router: Cluster, peers: dict[int, Peer]) -> None:
    routes_go_and_come(router, peers)


def test_routes_outlive_a_daemon_that_is_killed(router: Cluster, peers: dict[int, Peer]) -> None:
    """One of FRR's programs: all start again."""
    kill_bgpd = ("sh", "-c", "kill -9 $(cat /run/rbops-frr/bgpd.pid)")
    outlive(router, peers, "rbops-frr.service", lambda: router.on("n3", *kill_bgpd))


def test_a_dead_peers_prefixes_move_to_another_ports(router: Cluster, peers: dict[int, Peer]) -> None:
    kill(peers[0], "KILL")
    wait_for("the other port", lambda: entry(router, "n3", "100.64.0.1") == "server 1, port 1, adjacency 1", 20)
    assert not sessions(router, "n0")["port0_198_18_0_2"]["up"]


def test_what_frr_refuses_changes_nothing(router: Cluster, peers: dict[int, Peer]) -> None:
    """Before anything changes what its checker sees; what the running daemons alone know is rolled back."""
    before = peers[3].since()
    text = router.spec.read_text()
    own = re.sub(r"\nrouting:\n(  .*\n)+", "\nrouting: {daemon: frr, routes: 100000, config: own.conf}\n", text)
    router.spec.write_text(own)
    lines = router.folder / "own.conf"
    try:
        lines.write_text("router bgp 64512\n nonsense\n")
        for done in (router.run("check", str(router.spec)), router.verb("apply")):
            assert done.code == 3, done.out + done.err
            assert "line 2: % Unknown command" in done.err
        assert peers[3].since() == before
        lines.write_text("router bgp 64512\n neighbor 198.18.0.2 timers connect 10\n")
        done = router.verb("apply")
        assert done.code == 5, done.out + done.err
        assert "rolled back" in done.err
    finally:
        router.spec.write_text(text)
    assert router.verb("diff").code == 0
    wait_for("the session", peers[3].since)
    wait_for("n3's data plane", lambda: entry(router, "n3", "100.64.0.1") == "server 1, port 1, adjacency 1")


def test_a_configuration_of_ones_own(router: Cluster, peers: dict[int, Peer]) -> None:
    (router.folder / "own.conf").write_text(
        "@routes@\nroute-map all permit 10\n@table@\nexit\nrouter bgp 64512@vrf@\n bgp router-id @router_id@\n"
        " neighbor 198.18.3.2 remote-as 65003\n"
        " address-family ipv4 unicast\n  neighbor 198.18.3.2 route-map all in\n"
        "  neighbor 198.18.3.2 route-map all out\n exit-address-family\n"
    )
    text = router.spec.read_text()
    own = "\nrouting: {daemon: frr, routes: 100000, config: own.conf}\n"
    text = re.sub(r"\nrouting:\n(  .*\n)+", own, text)
    router.spec.write_text(text.replace("  line_rate:", "  services: [bgp]\n  line_rate:", 1))
    done = router.verb("apply")
    assert done.code == 0, done.err
    wait_for("the session", lambda: sessions(router, "n3").get("198.18.3.2", {}).get("up"))
    wait_for("its route", lambda: entry(router, "n3", "192.0.2.1").startswith("port ext3 to "))
    wait_for("the others' end", lambda: entry(router, "n2", "192.0.2.1") == "no route: the kernel")
    assert peers[3].since()
