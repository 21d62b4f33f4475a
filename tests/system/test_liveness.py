"""A neighbour that does not forward any more, though the carrier is up: left out, told, and used again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.system.driver import Cluster, Done, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVERS = ("n0", "n1", "n2", "n3")


def plane(cluster: Cluster, server: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.on(server, "rbops-node", "status", "--json"))["dataplane"]
    return found


def silent(cluster: Cluster, server: str) -> list[int]:
    return list(plane(cluster, server)["silent"])


def no_path(cluster: Cluster, server: str) -> int:
    counted = json.loads(cluster.on(server, "rbops-node", "counters", "--json"))
    return int(counted["total"]["dropped"]["no_path"])


@contextmanager
def detached(cluster: Cluster, server: str, *ports: str) -> Iterator[None]:
    for port in ports:
        cluster.on(server, "ip", "link", "set", "dev", port, "xdp", "off")
    try:
        yield
    finally:
        cluster.on(server, "rbops-node", "apply")
        cluster.wait_for_cables()


def reaches(cluster: Cluster, address: str) -> bool:
    return "3 received" in cluster.on("t0", "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)


def test_all_cables_answer(cluster: Cluster) -> None:
    cluster.wait_for_cables()
    for server in SERVERS:
        cables = plane(cluster, server)["cables"]
        assert {cable["state"] for cable in cables.values()} == {"alive"}
        assert all(cable["answered"] and cable["round_trip_us"] > 0 for cable in cables.values())
    shown = cluster.verb("status")
    assert shown.code == 0, shown.out + shown.err
    assert shown.out.count("3 of 3") == len(SERVERS)


def test_a_detached_program_is_gone_round_and_told(cluster: Cluster) -> None:
    """n3 has no program on the cable from n0: n0 goes by n1 and n2, and n3 knows that n0 does not hear it either."""
    with detached(cluster, "n3", "int0"):
        wait_for("n0 to notice", lambda: silent(cluster, "n0") == [3])
        wait_for("n3 to notice", lambda: silent(cluster, "n3") == [0])
        assert plane(cluster, "n0")["cables"]["int3"]["state"] == "dead"
        before = no_path(cluster, "n0")
        assert reaches(cluster, "198.18.3.2")
        assert no_path(cluster, "n0") == before
        shown = cluster.verb("status")
        assert "no answer on int3" in shown.out
        assert "int3 (dead)" in shown.out
        found = cluster.verb("verify", "-l", "n0", "-k", "test_up", "--format", "json")
        assert [(row["name"], row["outcome"]) for row in found.json["checks"]] == [
            *((f"up[n0:{port}]", "passed") for port in ("ext0", "int1", "int2")),
            ("up[n0:int3]", "failed"),
        ]
    assert "int3: the far end answers again" in cluster.on("n0", "journalctl", "-u", "rbops-watch", "--no-pager")


def test_no_path_leads_over_a_cable_that_is_dead_behind_its_first_server(cluster: Cluster) -> None:
    """n3 hears neither n0 nor n1: n0 and n1 both go by n2 alone, and nothing is lost at n1."""
    with detached(cluster, "n3", "int0", "int1"):
        wait_for("both to notice", lambda: silent(cluster, "n0") == silent(cluster, "n1") == [3])
        before = {server: no_path(cluster, server) for server in SERVERS}
        assert all(reaches(cluster, "198.18.3.2") for _ in range(3))
        assert {server: no_path(cluster, server) for server in SERVERS} == before


def test_a_server_whose_userland_stands_still_goes_on(cluster: Cluster) -> None:
    cluster.on("n3", "systemctl", "kill", "-s", "STOP", "rbops-watch.service")
    try:
        before = plane(cluster, "n0")["cables"]["int3"]
        assert all(reaches(cluster, "198.18.3.2") for _ in range(2))
        after = plane(cluster, "n0")["cables"]["int3"]
    finally:
        cluster.on("n3", "systemctl", "kill", "-s", "CONT", "rbops-watch.service")
    assert (after["state"], after["transitions"]) == ("alive", before["transitions"])
    assert after["answered"] > before["answered"]
    assert after["asked"] == before["asked"]


def test_a_prober_that_ends_is_started_again(cluster: Cluster) -> None:
    """With the watch that it belongs to: and nobody is taken for dead meanwhile."""
    before = plane(cluster, "n0")["cables"]
    cluster.on("n0", "pkill", "-o", "-f", "rbops-node watch")
    wait_for("the watch", lambda: plane(cluster, "n0")["cables"]["int3"]["sent"] > before["int3"]["sent"] + 50)
    after = plane(cluster, "n0")["cables"]
    assert [cable["transitions"] for cable in after.values()] == [cable["transitions"] for cable in before.values()]


def test_the_selftest_breaks_and_mends(cluster: Cluster) -> None:
    """A row for each event; what takes the machine's CPUs meanwhile may make one last longer than it should."""
    done = cluster.verb("selftest", "--quick", "--duration", "1", "--failures", "--format", "json")
    assert done.code in (0, 1), done.err
    assert {fault["kind"] for fault in done.json["faults"]} <= {"reroute"}, done.json["faults"]
    rows = {(row["event"], row["back"]): row for row in done.json["failures"]}
    assert len(rows) == 8, done.json
    assert rows["program detached, carrier up", False]["lost"] > 0
    assert rows["watch stopped (SIGSTOP)", False]["lost"] == 0
    assert all(row["lost"] < row["sent"] / 2 for row in rows.values())
    assert not any(plane(cluster, server)["dead"] for server in SERVERS)


def vias(done: Done) -> set[str]:
    return {path["via"] for phase in done.json["phases"] for path in phase["spread"] if path["via"] is not None}


def test_a_drained_server_is_no_intermediate_until_it_is_used_again(cluster: Cluster) -> None:
    """By the counters of a test that goes over intermediates: also after its watch and its data plane began anew."""
    done = cluster.verb("drain", "n1")
    assert done.code == 0, done.err
    assert "n1 is drained: nothing goes through it" in done.out
    try:
        cluster.on("n0", "systemctl", "restart", "rbops-watch")
        tested = cluster.verb("selftest", "--quick", "--duration", "2", "--format", "json")
        assert tested.code == 0, tested.out
        assert "n2" in vias(tested)
        assert "n1" not in vias(tested)
        assert "n1 is drained: n0, n2, n3 send nothing through it" in cluster.verb("status").out
        with detached(cluster, "n3", "int0"):
            wait_for("n0 to notice", lambda: silent(cluster, "n0") == [3])
            refused = cluster.verb("drain", "n2")
            assert refused.code == 3, refused.out
            assert "without n2 no path is left from n0 to n3" in refused.err
            assert reaches(cluster, "198.18.3.2")
    finally:
        done = cluster.verb("undrain", "n1", "--format", "json")
    assert (done.code, done.json["told"]) == (0, ["n0", "n2", "n3"])
    tested = cluster.verb("selftest", "--quick", "--duration", "2", "--format", "json")
    assert "n1" in vias(tested)
