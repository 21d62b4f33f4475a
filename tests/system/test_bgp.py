"""BIRD on every server, and BIRD of other ASs beside the router: routes come, go and move, and packets follow them."""

from __future__ import annotations

import json
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
from tests.system.peers import ROUTER_AS, Peer, kill
from tests.system.test_routing import audit

pytestmark = [pytest.mark.lab, pytest.mark.root]


@pytest.fixture(scope="module")
def router(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with BIRD; afterwards as it was."""
    path = cluster.folder / "peer0.password"
    path.touch(0o600)
    path.write_text(PASSWORD + "\n")
    with cluster.with_spec(cluster.spec.read_text() + ROUTING):
        done = cluster.verb("apply", "--diff")
        assert done.code == 0, done.err
        assert PASSWORD not in done.out + done.err
        yield cluster
    done = cluster.verb("apply")
    assert done.code == 0, done.err
    for server in SERVERS:
        for unit in ("rbops-bird.service", "rbops-fib.service"):
            assert cluster.on(server, "systemctl", "is-active", unit, check=False).strip() == "inactive"
        assert cluster.on(server, "ls", "/etc/systemd/system/rbops-fib.service", check=False) == ""
        assert cluster.on(server, "sh", "-c", "ls -d /etc/rbops/bird /run/rbops-bird 2>/dev/null", check=False) == ""
        assert "proto bird" not in cluster.on(server, "ip", "route", "show", "table", "82")
    done = cluster.verb("diff")
    assert done.code == 0, done.out + done.err


@pytest.fixture(scope="module")
def peers(router: Cluster) -> Iterator[dict[int, Peer]]:
    with three_ases(router) as found:
        yield found


def test_two_ases_reach_each_other_through_the_router(router: Cluster, peers: dict[int, Peer]) -> None:
    meet(router, peers)
    assert entry(router, "n2", "192.0.2.1") == "server 3, port 3, adjacency 1"
    assert entry(router, "n0", "100.64.0.1").startswith("port ext0 to ")
    assert "3 received" in ping(router)
    for server in SERVERS:
        wait_for(server, lambda server=server: audit(router, server)["differences"] == 0)
    done = router.verb("verify")
    assert done.code == 0, done.out + done.err
    done = router.verb("diff")
    assert done.code == 0, done.out + done.err
    found = sessions(router, "n0")
    assert {name: each["info"] for name, each in found.items()} == dict.fromkeys(found, "Established")
    assert (found["port0_198_18_0_2"]["imported"], found["port0_198_18_0_2"]["as"]) == (1, 65000)
    said = json.loads(router.verb("status", "--format", "json").out)["servers"]["n0"]
    assert said["problems"] == []
    assert {each["name"] for each in said["node"]["daemon"]["sessions"]} == set(found)
    assert "Sessions" in router.verb("status").out


def test_nobody_else_reaches_the_daemons(router: Cluster, peers: dict[int, Peer]) -> None:
    del peers
    knock = "import socket; socket.create_connection(('198.18.0.1', 179), 5)"
    assert router.on("t2", "python3", "-c", f"try:\n {knock}\nexcept ConnectionRefusedError:\n print('no')") == "no\n"


def test_passwords_are_nowhere_but_in_their_file(router: Cluster, peers: dict[int, Peer]) -> None:
    del peers
    assert router.on("n0", "stat", "-c", "%a %U", "/etc/rbops/bird/keys.conf").split() == ["600", "root"]
    assert router.on("n0", "stat", "-c", "%a %U", "/run/rbops-bird/keys.conf").split() == ["400", "bird"]
    said = router.on("n0", "sh", "-c", "journalctl --no-pager; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert PASSWORD not in said
    where = router.on("n0", "grep", "-rl", PASSWORD, "/etc", "/run", "/var/lib/rbops", "/tmp", check=False).split()
    assert sorted(where) == ["/etc/rbops/bird/keys.conf", "/run/rbops-bird/keys.conf"]
    assert router.on("n1", "cat", "/run/rbops-bird/keys.conf") == "# none\n"


def test_routes_go_and_come(router: Cluster, peers: dict[int, Peer]) -> None:
    routes_go_and_come(router, peers)


def test_a_session_outlives_what_does_not_concern_it(router: Cluster, peers: dict[int, Peer]) -> None:
    before = {port: each.since() for port, each in peers.items()}
    text = router.spec.read_text()
    router.spec.write_text(text.replace("[198.51.100.0/24]", "[198.51.100.0/24, 198.51.101.0/24]"))
    try:
        done = router.verb("apply")
        assert done.code == 0, done.err
        wait_for("the new prefix", lambda: peers[3].path_to("198.51.101.0/24") == str(ROUTER_AS))
        assert {port: each.since() for port, each in peers.items()} == before
    finally:
        router.spec.write_text(text)
        back = router.verb("apply")
    assert back.code == 0, back.err
    wait_for("its end", lambda: peers[3].path_to("198.51.101.0/24") is None)
    assert {port: each.since() for port, each in peers.items()} == before


def test_routes_outlive_a_daemon_that_is_killed(router: Cluster, peers: dict[int, Peer]) -> None:
    """The kernel has them too."""
    unit = "rbops-bird.service"
    outlive(router, peers, unit, lambda: router.on("n3", "systemctl", "kill", "-s", "KILL", unit))


def test_a_dead_peers_prefixes_move_to_another_ports(router: Cluster, peers: dict[int, Peer]) -> None:
    router.on("t0", "ip", "address", "add", "100.64.0.99/32", "dev", "lo")
    kill(peers[0], "KILL")
    try:
        wait_for("the other port", lambda: entry(router, "n3", "100.64.0.1") == "server 1, port 1, adjacency 1", 20)
        wait_for("packets", lambda: "3 received" in ping(router))
        assert not sessions(router, "n0")["port0_198_18_0_2"]["up"]
    finally:
        router.on("t0", "ip", "address", "del", "100.64.0.99/32", "dev", "lo")
        folder = peers[0].folder
        files = ["-c", str(folder / "bird.conf"), "-s", str(folder / "ctl"), "-P", str(folder / "pid")]
        router.on("t0", "bird", *files)
    wait_for("its return", lambda: entry(router, "n3", "100.64.0.1") == "server 0, port 0, adjacency 1")


def test_a_dead_server_takes_only_its_own_peers_along(router: Cluster, peers: dict[int, Peer]) -> None:
    before = peers[3].since()
    ports = ("ext1", "int0", "int2", "int3")
    for port in ports:
        router.on("n1", "ip", "link", "set", port, "down")
    try:
        wait_for("n0's view", lambda: not sessions(router, "n0")["server_1"]["up"])
        assert "3 received" in ping(router)
        assert peers[3].since() == before
        assert sessions(router, "n0")["server_3"]["up"]
    finally:
        for port in ports:
            router.on("n1", "ip", "link", "set", port, "up")
    wait_for("n1's peer", lambda: peers[1].path_to("192.0.2.0/24") == f"{ROUTER_AS} 65003")
    for server in SERVERS:
        wait_for(server, lambda server=server: audit(router, server)["differences"] == 0)
    done = router.verb("verify")
    assert done.code == 0, done.out + done.err


def test_a_daemon_that_does_not_run_is_named(router: Cluster, peers: dict[int, Peer]) -> None:
    del peers
    router.on("n2", "systemctl", "stop", "rbops-bird.service")
    try:
        done = router.verb("verify", "-k", "daemon")
        assert done.code == 1
        assert "rbops-bird.service does not run" in done.out + done.err
        assert "bird: it does not run" in router.verb("status").out
    finally:
        router.on("n2", "systemctl", "start", "rbops-bird.service")
    wait_for("n2's sessions", lambda: all(each["up"] for each in sessions(router, "n2").values()))


def test_what_bird_refuses_changes_nothing(router: Cluster, peers: dict[int, Peer]) -> None:
    before = peers[0].since()
    text = router.spec.read_text()
    (router.folder / "own.conf").write_text("router id RBOPS_ROUTER_ID;\nprotocol nonsense { }\n")
    router.spec.write_text(text.replace(ROUTING, "\nrouting: {daemon: bird, routes: 100000, config: own.conf}\n"))
    try:
        for verb in ("check", "apply"):
            done = router.run("check", str(router.spec)) if verb == "check" else router.verb(verb)
            assert done.code == 3, done.out + done.err
            assert "own.conf:2:10 syntax error" in done.err
    finally:
        router.spec.write_text(text)
    done = router.verb("diff")
    assert done.code == 0, done.out + done.err
    assert peers[0].since() == before
