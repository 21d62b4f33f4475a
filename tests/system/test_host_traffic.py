"""Ordinary hosts behind the router: TCP, ping, path tracing, unreachable addresses, large packets."""

from __future__ import annotations

import errno
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
