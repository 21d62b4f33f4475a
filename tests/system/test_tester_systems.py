"""Testers that are systems of their own: reached over SSH as a rack's are, and left as they were."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.system.conftest import booted, make_cluster
from tests.system.driver import RBOPS, Cluster, wait_for

pytestmark = pytest.mark.lab(own=True)

SPEC = "name: far\nrouter: {external_ports: 2, line_rate: 1Gbps}\nservers: {profile: lab}\n"


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two servers and two testers, all booted."""
    made = make_cluster(tmp_path_factory.mktemp("far"), "rbt-far")
    with booted(made, SPEC, "--testers", "systems"):
        yield made


def traces(rack: Cluster, tester: str) -> str:
    """What an agent has on a tester: its process, its program."""
    found = rack.on(tester, "sh", "-c", "pgrep -af rbops.selftest; ip -d link show | grep -o 'xdp.*'", check=False)
    return "".join(line for line in found.splitlines(keepends=True) if "pgrep" not in line)


def test_a_change_is_confirmed_by_packets_between_them(rack: Cluster) -> None:
    done = rack.verb("apply", "--confirm-if", "selftest,verify")
    assert done.code == 0, done.err
    assert "confirmed" in done.out
    tested = rack.verb("selftest", "--quick", "--duration", "1", "--latency", "--format", "json")
    assert tested.code == 0, tested.err
    assert tested.json["phases"][0]["received"] > 10_000
    assert any("a clock, of its own" in note for note in tested.json["notes"])
    assert [traces(rack, tester) for tester in ("t0", "t1")] == ["", ""]


def test_nothing_is_left_when_the_test_is_killed(rack: Cluster) -> None:
    command = [RBOPS, "selftest", str(rack.spec), "-i", str(rack.inventory), "--duration", "50"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=rack.environment
    ) as process:
        wait_for("an agent that sends", lambda: all("xdp" in traces(rack, tester) for tester in ("t0", "t1")))
        process.kill()
    wait_for("their end", lambda: not any(traces(rack, tester) for tester in ("t0", "t1")), 60)


def test_a_tester_that_is_off_is_named_before_anything_changes(rack: Cluster) -> None:
    rack.run("lab", "kill", rack.name, "t1")
    try:
        done = rack.verb("selftest", "--quick")
        assert (done.code, "t1: " in done.err) == (4, True), done.err
        assert "t1 " in rack.run("lab", "status", rack.name).out
    finally:
        assert rack.run("lab", "restart", rack.name, "t1").code == 0
    again = rack.run("lab", "up", str(rack.spec), "--name", rack.name)
    assert (again.code, "is as planned" in again.err) == (0, True), again.err
    rack.healthy()
