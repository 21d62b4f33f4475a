"""Two external ports a server and parallel cables between the servers, on hardware of the spec's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.conftest import applied, make_cluster
from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

SPEC = """\
name: bundles
router: {external_ports: 4, line_rate: 1Gbps, traffic: uniform}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 2
    clock: 3GHz
    housekeeping: []
    nics: [{driver: veth, ports: 4, port_rate: 1Gbps, queues: 2}]
"""
CABLES = ("int1p0", "int1p1")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with applied(make_cluster(tmp_path_factory.mktemp("bundles"), "rbt-bundles"), SPEC) as made:
        yield made


def sent(cluster: Cluster) -> dict[str, int]:
    """Packets that n0 put on each cable."""
    ports = json.loads(cluster.on("n0", "rbops-node", "counters", "--json"))["ports"]
    return {name: ports[name]["tx_packets"] for name in CABLES}


def selftest(cluster: Cluster, *, passes: bool = True) -> dict[str, int]:
    """All packets between all ports arrive; what went over each cable of n0 meanwhile."""
    before = sent(cluster)
    done = cluster.verb("selftest", "--quick", "--duration", "2", "--format", "json")
    lost = {phase["name"]: phase["lost"] for phase in done.json["phases"]}
    assert lost == {"matrix": 0, "pair": 0}, (lost, [lost_at(cluster, name) for name in ("n0", "n1")], done.err)
    cores = [core for phase in done.json["phases"] for core in phase["balance"]["cores"]]
    assert cores, done.json["phases"]
    for core in cores:  # of the machine, which all servers share; in steps of 10 ms
        assert 0 <= core["softirq"] <= core["busy"] <= 1.2, core
    assert not any("lost" in note for note in done.json["notes"]), "repeated"
    assert done.code == 0 or not passes, done.out + done.err
    return {name: count - before[name] for name, count in sent(cluster).items()}


def lost_at(cluster: Cluster, name: str) -> dict[str, Any]:
    """Where a server says that packets went: what it dropped, and cables that were dead for a while."""
    found = json.loads(cluster.on(name, "rbops-node", "counters", "--json"))
    dead = {cable: (said["state"], said["transitions"]) for cable, said in found["probes"].items()}
    return {"dropped": {why: count for why, count in found["total"]["dropped"].items() if count}, "cables": dead}


def probes(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.on("n0", "rbops-node", "counters", "--json"))["probes"]
    return found


def test_two_servers_with_two_ports_each_share_their_cables(pair: Cluster) -> None:
    assert [len(server.external_ports) for server in pair.plan.servers] == [2, 2]
    assert len(pair.plan.links) == len(CABLES)
    wait_for("all cables answer", lambda: {cable["state"] for cable in probes(pair).values()} == {"alive"})
    over = selftest(pair)
    assert min(over.values()) > 0.2 * sum(over.values()), over
    assert pair.verb("verify", "-k", "network or dataplane").code == 0


def test_a_cut_cable_leaves_its_bundle(pair: Cluster) -> None:
    # The kernel's own routes go by the first cable.
    pair.on("n0", "ip", "link", "set", "dev", "int1p1", "down")
    try:
        over = selftest(pair)
    finally:
        pair.on("n0", "ip", "link", "set", "dev", "int1p1", "up")
    assert over["int1p0"] > 10_000
    assert over["int1p1"] < 100, over


def test_a_silent_cable_leaves_its_bundle_and_comes_back(pair: Cluster) -> None:
    """n1 has no program on one cable: n0's packets take the other, until it answers again."""
    wait_for("all cables answer", lambda: {cable["state"] for cable in probes(pair).values()} == {"alive"})
    pair.on("n1", "ip", "link", "set", "dev", "int0p0", "xdp", "off")
    try:
        wait_for("a dead cable", lambda: probes(pair)["int1p0"]["state"] == "dead")
        over = selftest(pair, passes=False)  # it names the queues without a program
    finally:
        pair.on("n1", "rbops-node", "apply")
    assert over["int1p1"] > 10_000
    assert over["int1p0"] < 100, over
    wait_for("the cable is back", lambda: probes(pair)["int1p0"]["state"] == "alive")
    over = selftest(pair)
    assert min(over.values()) > 0.2 * sum(over.values()), over
