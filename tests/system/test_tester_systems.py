"""Testers that are systems of their own: reached over SSH as a rack's are, and left as they were."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.conftest import booted, make_cluster
from tests.system.driver import RBOPS, Cluster, wait_for

pytestmark = pytest.mark.lab(own=True)

SPEC = """\
name: far
router: {external_ports: 2, line_rate: 1Gbps}
servers: {profile: lab}
ports:
  - id: 0
    ipv6: {address: "2001:db8:0:a0::1/64", neighbors: [{address: "2001:db8:0:a0::2", mac: "02:4e:00:00:00:02"}]}
  - id: 1
    ipv6: {address: "2001:db8:0:a1::1/64", neighbors: [{address: "2001:db8:0:a1::2", mac: "02:4e:00:01:00:02"}]}
"""


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
    received = {phase["name"]: phase["received"] for phase in tested.json["phases"]}
    assert min(received["matrix"], received["matrix IPv6"]) > 1000
    assert min(received["pair"], received["pair IPv6"]) > 0
    assert any("between which round trips are timed" in note for note in tested.json["notes"])
    timed = tested.json["latency"]
    assert [(one["way"], one["family"]) for one in timed] == [("round trip", 4), ("round trip", 6)]
    assert all(one["samples"] > 100 and 0 < one["floor"]["min_s"] < one["p99.9_s"] < 1 for one in timed)
    assert [traces(rack, tester) for tester in ("t0", "t1")] == ["", ""]


def test_nothing_is_left_when_the_test_is_killed(rack: Cluster) -> None:
    command = [RBOPS, "selftest", str(rack.spec), "-i", str(rack.inventory), "--duration", "50"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=rack.environment
    ) as process:
        wait_for("an agent that sends", lambda: all("xdp" in traces(rack, tester) for tester in ("t0", "t1")))
        process.kill()
    wait_for("their end", lambda: not any(traces(rack, tester) for tester in ("t0", "t1")), 60)


def test_senders_are_told_that_a_server_was_killed(rack: Cluster) -> None:
    """Of both families, by the other server, from its own port's address; when it is back, so is the way."""
    rack.on("t0", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.all.accept_ra=0")
    device = rack.lab.testers[0].device
    rack.on("t0", "ip", "address", "add", "2001:db8:0:a0::2/64", "dev", device, "nodad")
    rack.on("t0", "ip", "-6", "route", "add", "2001:db8::/32", "via", "2001:db8:0:a0::1")

    def ping(address: str) -> str:
        return rack.on("t0", "ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", address, check=False)

    assert rack.run("lab", "kill", rack.name, "n1").code == 0
    try:
        told = "From 198.18.0.1 icmp_seq=1 Destination Host Unreachable"
        wait_for("the answer", lambda: told in ping("198.18.1.2"))
        told = "From 2001:db8:0:a0::1 icmp_seq=1 Destination unreachable: Address unreachable"
        wait_for("that of IPv6", lambda: told in ping("2001:db8:0:a1::2"))
        counted = json.loads(rack.on("n0", "rbops-node", "counters", "--json"))["total"]["dropped"]
        assert counted["unreachable"] >= 2
        assert "2 received" in ping("198.18.0.1")
    finally:
        assert rack.run("lab", "restart", rack.name, "n1").code == 0
    wait_for("its return", lambda: "2 received" in ping("198.18.1.2"), 120)


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
