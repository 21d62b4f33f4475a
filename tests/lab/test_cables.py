"""Cables of a running lab: cut and plugged, servers killed and restarted, by the verbs a user types."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rbops.errors import Mismatch, UsageError
from rbops.lab.cables.ends import all_ends, find_ends, one_end
from rbops.lab.manifest import from_plan
from rbops.lab.model import Lab
from tests.lab.plans import mesh, systems
from tests.support.errors import raises


def test_every_end_knows_the_other_one() -> None:
    plan = mesh(3)
    ends = all_ends(from_plan(plan, "x", 7, systems(plan), "nspawn"))
    assert len(ends) == 2 * (3 + 3)
    assert all(ends[ends[end.peer].peer] is end for end in ends.values())
    assert (ends["t1:ext1"].peer, ends["t1:ext1"].tester, ends["n1:ext1"].tester) == ("n1:ext1", True, False)


def test_ends_are_found_by_node_and_by_port() -> None:
    plan = mesh(2)
    manifest = from_plan(plan, "x", 7, systems(plan), "nspawn")
    assert [end.name for end in find_ends(manifest, ["n0:int1", "n0", "t1"])] == ["n0:int1", "n0:ext0", "t1:ext1"]
    with raises(Mismatch, "lab.no-target"):
        find_ends(manifest, ["n7:int0"])
    with raises(Mismatch, "lab.no-port"):
        find_ends(manifest, ["n0:int7"])
    with raises(UsageError, "lab.end"):
        one_end(manifest, "n0")


def rbops(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from rbops.cli import main; main()", "lab", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _flags(lab: Lab, node: str, device: str) -> str:
    args = lab.command(node, ["ip", "-json", "link", "show", device])
    found = subprocess.run(args, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return " ".join(sorted(set(json.loads(found.stdout)[0]["flags"]) & {"UP", "LOWER_UP", "NO-CARRIER"}))


@pytest.mark.lab
def test_a_cable_is_cut_and_plugged(lab: Lab) -> None:
    for node, device in (("n0", "int1"), ("n1", "int0"), ("n0", "ext0")):
        subprocess.run(lab.command(node, ["ip", "link", "set", device, "up"]), check=True)
    done = rbops("cut", lab.name, "n0:int1", "n0:ext0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "n0:int1 is without carrier, n1:int0 is down",
        "n0:ext0 is without carrier, t0:ext0 is down",
    ]
    assert _flags(lab, "n0", "int1") == "NO-CARRIER UP"
    assert _flags(lab, "n0", "ext0") == "NO-CARRIER UP"
    assert _flags(lab, "n1", "int0") == ""
    assert {cable.a: cable.state for cable in lab.status().cables} == {
        "n0:ext0": "down",
        "n0:int1": "down",
        "n1:ext1": "down",
    }
    assert rbops("cut", lab.name, "n0:int1").returncode == 0
    done = rbops("plug", lab.name, "n1:int0", "n0:ext0")
    assert done.returncode == 0, done.stderr
    assert _flags(lab, "n0", "int1") == _flags(lab, "n1", "int0") == _flags(lab, "n0", "ext0") == "LOWER_UP UP"
    route = subprocess.run(lab.command("t0", ["ip", "route"]), stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "default via 198.18.0.1 dev ext0" in route


@pytest.mark.lab
def test_nothing_is_cut_when_one_name_is_wrong(lab: Lab) -> None:
    subprocess.run(lab.command("n0", ["ip", "link", "set", "ext0", "up"]), check=True)
    done = rbops("cut", lab.name, "n0:ext0", "n0:int9")
    assert (done.returncode, done.stderr) == (3, "rbops: n0 has no port int9\nhint: its ports: ext0, int1\n")
    assert _flags(lab, "n0", "ext0") == "LOWER_UP UP"
    assert rbops("cut", lab.name, "n0").returncode == 2


@pytest.mark.lab
def test_a_server_is_killed_and_restarted(lab: Lab) -> None:
    assert rbops("kill", lab.name, "n1").returncode == 0
    assert [server.running for server in lab.status().servers] == [True, False]
    done = rbops("cut", lab.name, "n0:int1")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "rbops: n1:int0 is not plugged in: n1 is off")
    assert rbops("kill", lab.name, "n1").returncode == 0
    done = rbops("restart", lab.name, "n1")
    assert done.returncode == 0, done.stderr
    assert lab.status().state == "up"
    assert rbops("kill", lab.name, "n7").returncode == 3
