"""Ordinary hosts behind the router: TCP, ping, path tracing, unreachable addresses, large packets."""

from __future__ import annotations

import errno
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.driver import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.root]

HERE = Path(__file__).parent
PEERS = [(0, 3), (3, 0), (1, 2)]


def ping(cluster: Cluster, tester: int, address: str, *options: str) -> str:
    """What one echo request from a tester brought back."""
    return cluster.on(f"t{tester}", "ping", "-n", "-c", "1", "-W", "5", *options, address, check=False)


@contextmanager
def echo_server(cluster: Cluster, tester: int) -> Iterator[None]:
    command = cluster.lab.command(f"t{tester}", [sys.executable, str(HERE / "echo.py"), "serve", f"198.18.{tester}.2"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(("client", "server"), PEERS)
def test_tcp_carries_megabytes_both_ways(cluster: Cluster, client: int, server: int) -> None:
    with echo_server(cluster, server):
        said = cluster.on(f"t{client}", sys.executable, str(HERE / "echo.py"), "send", f"198.18.{server}.2")
    assert said == f"{4 << 20} bytes came back whole\n"


@pytest.mark.parametrize(("client", "owner"), [(0, 0), (0, 3), (3, 1)])
def test_no_service_listens_on_the_routers_addresses(cluster: Cluster, client: int, owner: int) -> None:
    """The spec names none: SSH is refused as where nobody listens, without waiting."""
    connect = "import socket; s = socket.socket(); s.settimeout(20); print(s.connect_ex(('198.18.%d.1', 22)))" % owner  # noqa: UP031
    assert cluster.on(f"t{client}", sys.executable, "-c", connect).strip() == str(errno.ECONNREFUSED)


@pytest.mark.parametrize("tester", range(4))
def test_the_routers_addresses_answer_every_tester(cluster: Cluster, tester: int) -> None:
    for port in range(4):
        assert "1 received" in ping(cluster, tester, f"198.18.{port}.1"), f"t{tester} to port {port}"


def test_the_whole_cluster_is_one_hop(cluster: Cluster) -> None:
    """As traceroute sees it: the first hop is the input server, the second the host itself."""
    assert "From 198.18.0.1 icmp_seq=1 Time to live exceeded" in ping(cluster, 0, "198.18.3.2", "-t", "1")
    assert "From 198.18.2.1 icmp_seq=1 Time to live exceeded" in ping(cluster, 2, "198.18.3.2", "-t", "1")
    for ttl in ("2", "3"):
        assert "ttl=63" in ping(cluster, 0, "198.18.3.2", "-t", ttl)


def test_an_address_without_a_route_is_unreachable(cluster: Cluster) -> None:
    assert "From 198.18.0.1 icmp_seq=1 Destination Net Unreachable" in ping(cluster, 0, "198.51.100.1")


def test_the_static_route_leads_to_its_neighbour(cluster: Cluster) -> None:
    """203.0.113.0/24 is routed to the tester of port 3, which is given an address of it."""
    cluster.on("t3", "ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
    try:
        assert "1 received" in ping(cluster, 1, "203.0.113.1")
    finally:
        cluster.on("t3", "ip", "addr", "del", "203.0.113.1/32", "dev", "lo")


def test_a_packet_as_large_as_the_mtu_passes_unfragmented(cluster: Cluster) -> None:
    assert "1480 bytes from 198.18.2.2" in ping(cluster, 0, "198.18.2.2", "-M", "do", "-s", "1472")


@pytest.mark.parametrize("target", ["198.18.2.2", "198.18.2.1"])
def test_fragments_arrive_whole(cluster: Cluster, target: str) -> None:
    assert f"8008 bytes from {target}" in ping(cluster, 0, target, "-s", "8000")


def without_path(cluster: Cluster) -> dict[str, int]:
    """Server -> packets that were dropped since no link led on."""
    found = {}
    for server in ("n0", "n1", "n2", "n3"):
        counted = json.loads(cluster.on(server, "rbops-node", "counters", "--json"))
        found[server] = counted["total"]["dropped"].get("no_path", 0)
    return found


@contextmanager
def pings(cluster: Cluster) -> Iterator[list[str]]:
    """Echo requests between all testers and their next one, 50 a second each; then what each `ping` counted."""
    counted: list[str] = []
    running = [
        subprocess.Popen(
            cluster.lab.command(f"t{tester}", ["ping", "-n", "-q", "-i", "0.02", f"198.18.{(tester + 1) % 4}.2"]),
            stdout=subprocess.PIPE,
            text=True,
        )
        for tester in range(4)
    ]
    try:
        yield counted
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
            counted.append(process.communicate(timeout=30)[0])


def test_an_apply_of_routes_and_a_watch_that_starts_lose_no_packet(cluster: Cluster) -> None:
    """A watch that starts took links for dead that the kernel told it in a later datagram."""
    text, before = cluster.spec.read_text(), without_path(cluster)
    try:
        with pings(cluster) as counted:
            for _ in range(5):
                for server in before:
                    cluster.on(server, "systemctl", "restart", "rbops-watch")
            cluster.spec.write_text(f"{text.rstrip()}\n  - {{prefix: 203.0.114.0/24, via: 198.18.2.2}}\n")
            done = cluster.verb("apply", seconds=300)
            assert done.code == 0, done.err
    finally:
        cluster.spec.write_text(text)
        done = cluster.verb("apply", seconds=300)
    assert done.code == 0, done.err
    assert without_path(cluster) == before
    for line in counted:
        sent, received = (int(number) for number in re.findall(r"(\d+) (?:packets transmitted|received)", line))
        assert sent - received <= 1, line  # the last one may be on its way
        assert sent > 100
