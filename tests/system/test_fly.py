"""A fly: four servers with ports, and four between them that have none. VLB's two phases over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.conftest import applied, make_cluster
from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

SPEC = """\
name: fly
router: {external_ports: 4, line_rate: 200Mbps, traffic: uniform}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 2
    clock: 3GHz
    housekeeping: []
    nics: [{driver: veth, ports: 5, port_rate: 1Gbps, queues: 2}]
interconnect: {topology: fly, routing: vlb, flowlet_timeout: 0}
ports: [{id: 0, server: n0}, {id: 1, server: n1}, {id: 2, server: n2}, {id: 3, server: n3}]
"""
"""Each packet takes its turn, so that shares are exact; links carry five times the pair's rate, so that bursts fit."""

POINTS = 0.03
LONG_S = 400.0


@pytest.fixture(scope="module")
def fly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = make_cluster(tmp_path_factory.mktemp("fly"), "rbt-fly")
    with applied(made, SPEC, seconds=LONG_S):
        made.wait_for_cables()
        yield made


def dataplane(cluster: Cluster, server: str) -> dict[str, Any]:
    """What is loaded there."""
    found: dict[str, Any] = json.loads(cluster.on(server, "rbops-node", "status", "--json"))["dataplane"]
    return found


def neighbor(cluster: Cluster, server: str, to: int) -> str:
    """By which a server's packets for another one leave."""
    config = json.loads(cluster.on(server, "cat", "/etc/rbops/node.json"))["dataplane"]
    port = next(port for port in config["ports"] if port["name"] == config["next_hop"][str(to)])
    return f"n{port['peer_server']}"


def test_packets_spread_as_the_simulator_says(fly: Cluster) -> None:
    """Nothing is lost, and what is called direct did not pass the two other servers with ports."""
    assert (fly.plan.topology.kind, len(fly.plan.servers), fly.plan.topology.stages) == ("fly", 8, 1)
    expected = fly.run("simulate", str(fly.spec), "--matrix", "pair", "--packets", "20000", "--format", "json")
    assert expected.code == 0, expected.err
    direct = expected.json["direct_share"]
    done = fly.verb("selftest", "--quick", "--duration", "2", "--format", "json")
    assert done.code == 0, done.out + done.err
    phases = {phase["name"]: phase for phase in done.json["phases"]}
    assert {name: phase["lost"] for name, phase in phases.items()} == {"matrix": 0, "pair": 0}
    (pair,) = phases["pair"]["balance"]["pairs"]
    assert pair["direct"] == pytest.approx(direct, abs=POINTS)
    assert pair["direct"] == pytest.approx(pair["predicted_direct"], abs=POINTS)
    assert pair["over"] == {via: pytest.approx((1 - direct) / 2, abs=POINTS) for via in ("n1", "n2")}
    handled = {load["server"]: load["handled"] for load in phases["pair"]["balance"]["servers"]}
    for via, share in pair["over"].items():
        assert handled[via] == pytest.approx(share * pair["packets"], abs=0.01 * pair["packets"]), "it passed there"


def test_verify_passes(fly: Cluster) -> None:
    done = fly.verb("verify", "-k", "network or dataplane or counters", seconds=LONG_S)
    assert done.code == 0, done.out


def test_a_server_that_is_cut_off_behind_a_neighbour_is_left_out_until_it_is_back(fly: Cluster) -> None:
    """n0 has no cable to n3: the server between says in its probes that its own one is dead."""
    between = neighbor(fly, "n0", 3)
    cables = [port.name for port in fly.plan.server(between).ports if (port.peer or "").startswith("n3:")]
    for cable in cables:
        fly.on(between, "ip", "link", "set", "dev", cable, "down")
    try:
        wait_for("n3 is left out", lambda: 3 in dataplane(fly, "n0")["silent"])
        assert set(dataplane(fly, "n0")["silent"]) <= {1, 2, 3}
    finally:
        for cable in cables:
            fly.on(between, "ip", "link", "set", "dev", cable, "up")
    fly.wait_for_cables()


def test_what_is_broken_behind_an_intermediate_is_not_chosen(fly: Cluster) -> None:
    """n0 reaches n2 and n3, and n2 does not reach n3: n0 sends nothing for n3 through n2, and nothing is lost."""
    between = neighbor(fly, "n2", 3)
    assert neighbor(fly, "n0", 3) != between, "n0 has another way to n3, or it would not be behind n2 alone"
    cables = [port.name for port in fly.plan.server(between).ports if (port.peer or "").startswith("n3:")]
    for cable in cables:
        fly.on(between, "ip", "link", "set", "dev", cable, "down")
    try:
        wait_for("n3 is out of n2's reach", lambda: 3 in dataplane(fly, "n2")["silent"])
        wait_for("n0 knows", lambda: {"through": 2, "to": 3} in dataplane(fly, "n0")["out_of_reach"])
        assert 3 not in dataplane(fly, "n0")["silent"]
        done = fly.verb("selftest", "--quick", "--duration", "2", "--limit", "n0,n3", "--format", "json")
        assert {phase["lost"] for phase in done.json["phases"]} == {0}, done.out + done.err
    finally:
        for cable in cables:
            fly.on(between, "ip", "link", "set", "dev", cable, "up")
    fly.wait_for_cables()
    wait_for("n2 is used for n3 again", lambda: not dataplane(fly, "n0")["out_of_reach"])


def test_a_server_between_that_swallows_is_named(fly: Cluster) -> None:
    """Its neighbours' probes, which go round it, are stopped."""
    between = neighbor(fly, "n0", 3)
    servers = [server.name for server in fly.plan.servers]
    for server in servers:
        fly.on(server, "systemctl", "stop", "rbops-watch.service")
    for port in fly.plan.server(between).ports:
        fly.on(between, "ip", "link", "set", "dev", port.name, "xdp", "off")
    try:
        done = fly.verb("selftest", "--quick", "--duration", "2", "--format", "json")
    finally:
        fly.on(between, "rbops-node", "apply")
        for server in servers:
            fly.on(server, "systemctl", "start", "rbops-watch.service")
    assert done.code == 1
    lost = [one for one in done.json["faults"] if one["kind"] in {"loss", "nothing arrived"}]
    assert {one["server"] for one in lost} == {between}
    assert not any("repeated" in note for note in done.json["notes"])
    fly.wait_for_cables()
    fly.healthy()


def test_who_is_an_intermediate_can_be_drained(fly: Cluster) -> None:
    done = fly.verb("drain", "n1")
    assert done.code == 0, done.err
    try:
        assert dataplane(fly, "n0")["drained"] == [1]
    finally:
        assert fly.verb("undrain", "n1").code == 0
    refused = fly.verb("drain", "n4")
    assert refused.code == 3
    assert "n4 has no external ports" in refused.err
