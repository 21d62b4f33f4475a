"""The main job, by the commands a user types: from a spec to a router of four servers that forwards packets."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from rbops.report.results.document import schema
from tests.lab.traces import subnet_of
from tests.system.driver import Cluster, Done

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVERS = ("n0", "n1", "n2", "n3")
SUBJECTS = {"counters", "dataplane", "files", "network", "services", "settings"}


@pytest.mark.usefixtures("cluster")
def test_every_step_says_what_it_made(steps: dict[str, Done], cluster: Cluster) -> None:
    assert {name: done.code for name, done in steps.items()} == dict.fromkeys(steps, 0)
    assert "next: rbops check" in steps["init"].err + steps["init"].out
    assert steps["plan"].json["topology"]["kind"] == "mesh"
    assert list(steps["plan"].json["servers"]) == list(SERVERS)
    assert steps["lab up"].out.strip() == str(cluster.inventory)
    assert f"applied to 4 servers, 12 tasks changed something; confirmed. Plan {cluster.plan.digest[:12]}" in (
        steps["apply"].out
    )


def test_every_check_of_verify_passes(cluster: Cluster, tmp_path: Path) -> None:
    junit = tmp_path / "verify.xml"
    done = cluster.verb("verify", "--format", "json", "--junit", str(junit))
    assert done.code == 0, done.out + done.err
    found = done.json
    assert found["schema_version"] == 1
    assert found["passed"] is True
    assert found["plan_digest"] == cluster.plan.digest
    assert set(found["counts"]) == {"passed"}
    for server in SERVERS:
        assert {check["subject"] for check in found["checks"] if check["server"] == server} == SUBJECTS
    suite = ET.parse(junit).getroot()
    suite = suite if suite.tag == "testsuite" else suite[0]
    assert int(suite.attrib["tests"]) == len(found["checks"]) == found["counts"]["passed"]
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")


def test_verify_prints_a_table_of_servers_and_subjects(cluster: Cluster) -> None:
    done = cluster.verb("verify", "-k", "services or settings")
    assert done.code == 0, done.out + done.err
    assert all(name in done.out for name in (*SERVERS, "services", "settings"))
    assert "dataplane" not in done.out
    assert "passed, 0 failed" in done.out


def test_the_selftest_passes_between_all_ports(cluster: Cluster, tmp_path: Path) -> None:
    junit = tmp_path / "selftest.xml"
    done = cluster.verb("selftest", "--duration", "6", "--tcp", "--format", "json", "--junit", str(junit))
    assert done.code == 0, done.out + done.err
    found = done.json
    assert (found["schema_version"], found["passed"], found["faults"]) == (1, True, [])
    assert found["digest"] == cluster.plan.digest
    phases = {phase["name"]: phase for phase in found["phases"]}
    _whole_matrix(phases["matrix"])
    _spread_over_direct_and_two_hop_paths(phases["pair"])
    assert found["rate"]["rate_pps"] > 0
    assert [(one["connections"], one["failure"]) for one in found["tcp"]] == [(1, None), (8, None), (64, None)]
    assert all(one["rate_bps"] > 0 for one in found["tcp"])
    assert ET.parse(junit).getroot().find(".//failure") is None
    Draft202012Validator(schema()).validate(found)
    (server, *_) = found["context"]["servers"]
    assert (server["server"], server["ports"][0]["driver"], found["context"]["lab"]) == ("n0", "veth", True)


def _whole_matrix(phase: dict[str, Any]) -> None:
    """Every port received from every other one, and every packet that was sent."""
    pairs = {(pair["source"], pair["destination"]): pair for pair in phase["pairs"]}
    assert set(pairs) == {(source, to) for source in range(4) for to in range(4) if source != to}
    assert all(pair["received"] == pair["sent"] > 0 for pair in pairs.values())


def _spread_over_direct_and_two_hop_paths(phase: dict[str, Any]) -> None:
    """Above the direct quota part of the traffic takes each of the ways there are (paper 3.2)."""
    ways = {path["via"]: path["packets"] for path in phase["spread"] if (path["from"], path["to"]) == ("n0", "n3")}
    assert set(ways) == {None, "n1", "n2"}
    assert all(packets > 0 for packets in ways.values())


def test_the_lab_says_that_it_is_up(cluster: Cluster) -> None:
    done = cluster.run("lab", "status", str(cluster.spec), "--name", cluster.name, "--format", "json")
    assert done.code == 0, done.out + done.err
    assert done.json["state"] == "up"
    assert {cable["state"] for cable in done.json["cables"]} == {"up"}


def test_the_demo_does_it_all_and_cleans_up(other: Cluster) -> None:
    with other.start("demo", "--name", other.name) as demo:
        demo.wait_for("$ rbops apply")
        subnet = subnet_of(other.name)
        done = demo.end(600)
    assert done.code == 0, done.out + done.err
    for verb in ("init", "check", "plan", "render", "lab up", "apply", "verify", "selftest", "lab down"):
        assert f"$ rbops {verb} " in done.err
    assert "Received, 64-byte frames, every port to every other" in done.out
    assert "self-test of rb4 passed" in done.out
    assert done.err.index("  total  ") < done.err.index("next: rbops demo --keep")
    assert other.left_behind(subnet) == []
