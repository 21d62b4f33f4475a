"""A fly with Click: VLB's two phases over servers without ports, parallel cables, and what probes find."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rbops.dataplane.click.controller.build import find
from tests.system.conftest import applied, make_cluster
from tests.system.driver import Cluster, wait_for
from tests.system.test_fly import LONG_S, POINTS, dataplane, neighbor

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root, pytest.mark.click]

SPEC = """\
name: ckfly
router: {{external_ports: 4, line_rate: 10Mbps, traffic: uniform}}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 2
    clock: 3GHz
    housekeeping: []
    nics: [{{driver: veth, ports: 5, port_rate: 50Mbps, queues: 2}}]
dataplane: click
click: {{dialect: socket, prefix: "{prefix}"}}
interconnect: {{topology: fly, routing: vlb, flowlet_timeout: 0}}
ports: [{{id: 0, server: n0}}, {{id: 1, server: n1}}, {{id: 2, server: n2}}, {{id: 3, server: n3}}]
"""
"""Four servers with ports and four between them; two cables to one of those."""


@pytest.fixture(scope="module")
def fly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    spec = SPEC.format(prefix=find(os.environ.get("CLICK_PREFIX")).prefix)
    with applied(make_cluster(tmp_path_factory.mktemp("ckfly"), "rbt-ckfly"), spec, seconds=LONG_S) as made:
        made.wait_for_cables()
        yield made


def sent(cluster: Cluster, server: str) -> dict[str, int]:
    """Packets that a server put on each internal cable."""
    ports = json.loads(cluster.on(server, "rbops-node", "counters", "--json"))["ports"]
    return {name: port["tx_packets"] for name, port in ports.items() if name.startswith("int")}


def selftest(cluster: Cluster, *more: str) -> dict[str, Any]:
    """All packets arrive; the phases by name."""
    done = cluster.verb("selftest", "--quick", "--duration", "2", "--format", "json", *more)
    assert done.code == 0, done.out + done.err
    phases = {phase["name"]: phase for phase in done.json["phases"]}
    assert {name: phase["lost"] for name, phase in phases.items()} == {"matrix": 0, "pair": 0}
    return phases


def twins(cluster: Cluster, server: str) -> tuple[str, ...]:
    """The internal ports that are cabled to the same neighbour."""
    ends: dict[str, list[str]] = {}
    for port in cluster.plan.server(server).ports:
        if port.kind == "internal":
            ends.setdefault((port.peer or "").partition(":")[0], []).append(port.name)
    return next(tuple(names) for names in ends.values() if len(names) > 1)


def test_packets_spread_as_the_simulator_says(fly: Cluster) -> None:
    assert (fly.plan.topology.kind, len(fly.plan.servers), fly.plan.topology.stages) == ("fly", 8, 1)
    expected = fly.run("simulate", str(fly.spec), "--matrix", "pair", "--packets", "20000", "--format", "json")
    direct = expected.json["direct_share"]
    before = sent(fly, "n0")
    phases = selftest(fly)
    (pair,) = phases["pair"]["balance"]["pairs"]
    assert pair["direct"] == pytest.approx(direct, abs=POINTS)
    assert pair["over"] == {via: pytest.approx((1 - direct) / 2, abs=POINTS) for via in ("n1", "n2")}
    assert all(pair["direct"] == pytest.approx(0.5, abs=POINTS) for pair in phases["matrix"]["balance"]["pairs"])
    used = {name: count - before[name] for name, count in sent(fly, "n0").items()}
    first, second = (used[name] for name in twins(fly, "n0"))
    assert first == pytest.approx(second, rel=0.2), "cables to one neighbour carry the same"


def test_verify_passes(fly: Cluster) -> None:
    done = fly.verb("verify", "-k", "network or dataplane or counters or click", seconds=LONG_S)
    assert done.code == 0, done.out


def test_one_of_two_cables_is_cut(fly: Cluster) -> None:
    """Its twin carries everything; the neighbour is not left out."""
    cut, other = twins(fly, "n0")
    fly.on("n0", "ip", "link", "set", "dev", cut, "down")
    try:
        wait_for("the cable is dead", lambda: dataplane(fly, "n0")["cables"][cut]["state"] == "dead")
        assert dataplane(fly, "n0")["dead"] == []
        before = sent(fly, "n0")
        selftest(fly)
        used = {name: count - before[name] for name, count in sent(fly, "n0").items()}
        assert (used[cut], used[other] > 0) == (0, True)
    finally:
        fly.on("n0", "ip", "link", "set", "dev", cut, "up")
    fly.wait_for_cables()


def test_a_click_that_stands_still_between_others_is_gone_round(fly: Cluster) -> None:
    """Its carriers stay up; what its neighbours do not reach without it they tell others, and take back."""
    between = neighbor(fly, "n0", 3)
    fly.on(between, "systemctl", "kill", "-s", "STOP", "rbops-click.service")
    try:
        wait_for("n0 finds it silent", lambda: 3 in dataplane(fly, "n0")["silent"])
        assert 3 in dataplane(fly, "n0")["dead"]
        wait_for("others know", lambda: any(dataplane(fly, name)["out_of_reach"] for name in ("n1", "n2")))
    finally:
        fly.on(between, "systemctl", "kill", "-s", "CONT", "rbops-click.service")
    fly.wait_for_cables()
    wait_for("all is used again", lambda: not any(dataplane(fly, name)["dead"] for name in ("n0", "n1", "n2", "n3")))
    wait_for("all paths are", lambda: not dataplane(fly, "n0")["out_of_reach"])
    selftest(fly)


def test_an_intermediate_is_drained(fly: Cluster) -> None:
    done = fly.verb("drain", "n1")
    assert done.code == 0, done.err
    try:
        assert dataplane(fly, "n0")["drained"] == [1]
        (pair,) = selftest(fly)["pair"]["balance"]["pairs"]
        assert set(pair["over"]) == {"n2"}
        kept = fly.verb("apply")
        assert kept.code == 0
        assert dataplane(fly, "n0")["drained"] == [1]
        fly.on("n0", "systemctl", "restart", "rbops-click.service")
        wait_for("another Click knows it too", lambda: dataplane(fly, "n0").get("drained") == [1])
    finally:
        assert fly.verb("undrain", "n1").code == 0
    assert dataplane(fly, "n0")["drained"] == []
