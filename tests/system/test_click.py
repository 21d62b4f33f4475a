"""The same RB4 with Click's socket dialect: one lab for all, by the commands a user types."""

from __future__ import annotations

import pytest

from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.click]


def process(cluster: Cluster, server: str) -> str:
    return cluster.on(server, "systemctl", "show", "-p", "MainPID", "--value", "rbops-click.service").strip()


def dead(cluster: Cluster, server: str) -> list[int]:
    import json

    found: list[int] = json.loads(cluster.on(server, "rbops-node", "status", "--json"))["dataplane"]["dead"]
    return found


def test_verify_and_selftest(click_cluster: Cluster) -> None:
    verified = click_cluster.verb("verify", "--format", "json")
    assert verified.code == 0, verified.out
    tested = click_cluster.verb("selftest", "--format", "json", seconds=200)
    assert tested.code == 0, tested.err
    assert tested.json["rate"]["rate_pps"] > 0, tested.json["rate"]


def test_second_apply_changes_nothing(click_cluster: Cluster) -> None:
    before = process(click_cluster, "n0")
    done = click_cluster.verb("apply")
    assert done.code == 0
    assert "nothing to change" in done.out + done.err
    assert process(click_cluster, "n0") == before


def test_hosts_and_errors(click_cluster: Cluster) -> None:
    """Every router address answers from any port, also over the fabric; errors come from Click."""
    for port in range(4):
        assert "1 received" in click_cluster.on("t0", "ping", "-c", "1", "-W", "5", f"198.18.{port}.1", check=False)
    said = click_cluster.on("t0", "ping", "-n", "-c", "1", "-W", "5", "-t", "1", "198.18.3.2", check=False)
    assert "From 198.18.0.1 icmp_seq=1 Time to live exceeded" in said
    said = click_cluster.on("t0", "ping", "-n", "-c", "1", "-W", "5", "192.88.99.1", check=False)
    assert "From 198.18.0.1 icmp_seq=1 Destination Net Unreachable" in said


def kill(cluster: Cluster, server: str) -> None:
    """Kill Click and return when another process is there."""
    pid = process(cluster, server)
    cluster.on(server, "kill", "-9", pid)
    wait_for("another Click", lambda: process(cluster, server) not in ("0", pid), 30)


LOOK_UP = """\
import sys
from pathlib import Path
sys.path.insert(0, "/usr/sbin/rbops-node")
from rbops.dataplane.click.control import Control
with Control(Path("/run/rbops-click/control")) as control:
    print(control.read("rt_c0/table.lookup", sys.argv[1]))
"""


def output_for(cluster: Cluster, server: str, address: str) -> str:
    """The output that Click's look-up has for an address; empty while none answers."""
    return cluster.on(server, "python3", "-c", LOOK_UP, address, check=False).partition(" ")[0].strip()


def test_routes_change_by_handlers(click_cluster: Cluster) -> None:
    """And a Click that is killed has them again."""
    before = process(click_cluster, "n0")
    plain = click_cluster.spec.read_text()
    click_cluster.spec.write_text(plain + "  - {prefix: 192.0.2.0/24, via: 198.18.1.2}\n")
    try:
        done = click_cluster.verb("apply")
        assert done.code == 0, done.err
        assert process(click_cluster, "n0") == before
        assert output_for(click_cluster, "n0", "192.0.2.9") == "5"
        kill(click_cluster, "n0")
        wait_for("the route again", lambda: output_for(click_cluster, "n0", "192.0.2.9") == "5", 30)
    finally:
        click_cluster.spec.write_text(plain)
        assert click_cluster.verb("apply").code == 0


def test_a_click_that_stands_still_is_left_out(click_cluster: Cluster) -> None:
    """Its carriers stay up, but its neighbours' probes are not answered; a sender to its ports is told."""
    click_cluster.wait_for_cables()
    click_cluster.on("n3", "systemctl", "kill", "-s", "STOP", "rbops-click.service")
    try:
        wait_for("the server to be left out", lambda: dead(click_cluster, "n0") == [3], 30)
        said = click_cluster.on("t0", "ping", "-n", "-c", "1", "-W", "5", "198.18.3.1", check=False)
        assert "From 198.18.0.1 icmp_seq=1 Destination Net Unreachable" in said
    finally:
        click_cluster.on("n3", "systemctl", "kill", "-s", "CONT", "rbops-click.service")
    wait_for("it to be used again", lambda: not dead(click_cluster, "n0"), 30)


def test_a_dead_link_is_left_out(click_cluster: Cluster) -> None:
    click_cluster.on("n0", "ip", "link", "set", "int2", "down")
    try:
        wait_for("the link to be left out", lambda: dead(click_cluster, "n0") == [2], 30)
    finally:
        click_cluster.on("n0", "ip", "link", "set", "int2", "up")
    wait_for("the link to be used again", lambda: not dead(click_cluster, "n0"), 30)
