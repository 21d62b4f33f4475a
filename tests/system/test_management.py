"""The management network of a cluster: frames that a tester makes, while its bridge and all testers are listened to."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

from tests.support.netns import inside
from tests.support.packets import ARP, DF, EVERYONE, IPV4, TESTER, arp, datagram, echo, listen, segment
from tests.system.driver import Cluster
from tests.system.test_host_traffic import ping

pytestmark = [pytest.mark.lab, pytest.mark.root]

NEAR, OUTSIDE, SERVERS = "198.18.0.2", "8.8.8.8", ("n0", "n1", "n2", "n3")
ROUTER = IPv4Network("198.18.0.0/16")


def management(cluster: Cluster, server: str) -> str:
    return next(entry.address for entry in cluster.lab.servers if entry.name == server)


@contextmanager
def default_routes(cluster: Cluster) -> Iterator[None]:
    """Every server sends what it has no route for to the bridge."""
    network = IPv4Network(f"{management(cluster, 'n0')}/24", strict=False)
    for server in SERVERS:
        cluster.on(server, "ip", "route", "add", "default", "via", str(network[1]))
    try:
        yield
    finally:
        for server in SERVERS:
            cluster.on(server, "ip", "route", "del", "default")


def ends(frame: bytes) -> tuple[IPv4Address, IPv4Address] | None:
    """Source and destination of an IPv4 or ARP frame."""
    kind = struct.unpack("!H", frame[12:14])[0]
    at = {IPV4: (26, 30), ARP: (28, 38)}.get(kind)
    return None if at is None else (IPv4Address(frame[at[0] : at[0] + 4]), IPv4Address(frame[at[1] : at[1] + 4]))


def everything(link: socket.socket) -> list[tuple[IPv4Address, IPv4Address]]:
    """The ends of all frames until none has come for a while."""
    link.settimeout(0.3)
    found = []
    try:
        while True:
            both = ends(link.recv(65536))
            found += [both] if both else []
    except TimeoutError:
        return found


@contextmanager
def listening(cluster: Cluster) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """On the bridge, which gets a copy of all frames meanwhile, and on every tester's end of its cable."""
    bridge = cluster.lab.manifest.bridge
    with ExitStack() as stack:
        host = stack.enter_context(listen(bridge))
        host.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex(bridge), 1, 0, b""))  # PACKET_MR_PROMISC
        testers = []
        for tester in cluster.lab.testers:
            with inside(tester.netns):
                testers.append(stack.enter_context(listen(tester.device)))
        yield host, testers


@pytest.mark.parametrize("routed", [False, True], ids=["isolated", "routed"])
def test_nothing_of_a_tester_reaches_the_management(cluster: Cluster, routed: bool) -> None:  # noqa: FBT001
    addresses = [management(cluster, server) for server in SERVERS]
    mac = bytes.fromhex(cluster.on("n0", "cat", "/sys/class/net/ext0/address").strip().replace(":", ""))
    with ExitStack() as stack:
        if routed:
            stack.enter_context(default_routes(cluster))
        host, testers = stack.enter_context(listening(cluster))

        def send(data: bytes, kind: int = IPV4, to: bytes = mac) -> None:
            testers[0].send((to + TESTER + struct.pack("!H", kind) + data).ljust(60, b"\0"))

        for target in (*addresses, OUTSIDE, "198.51.100.9"):
            send(arp(NEAR, target), ARP, EVERYONE)
            for source in (NEAR, OUTSIDE):
                send(echo(source, target))
                send(segment(source, target, 22))
        for source in (OUTSIDE, *addresses):
            for target in (f"198.18.{port}.1" for port in range(4)):
                send(echo(source, target))
                send(segment(source, target, 22))
                send(datagram(source, target, 9))
            send(echo(source, "198.18.3.2", ttl=1))
            send(echo(source, "198.18.3.99", flags=DF, size=1400))
        leaked = everything(host)
        outside = {end for link in testers for both in everything(link) for end in both}
    assert [both for both in leaked if any(end in ROUTER or str(end) == OUTSIDE for end in both)] == []
    assert outside.isdisjoint({IPv4Address(address) for address in addresses})
    assert any(end in ROUTER for end in outside), "the testers do hear the router"


def test_errors_from_over_the_fabric_carry_the_routers_address(cluster: Cluster) -> None:
    """The server of port 3 says that nobody is there, and the one of port 0 that a packet was one hop too far."""
    assert "From 198.18.3.1 icmp_seq=1 Destination Host Unreachable" in ping(cluster, 0, "198.18.3.99", "-W", "10")
    assert "From 198.18.0.1 icmp_seq=1 Time to live exceeded" in ping(cluster, 0, "198.18.3.2", "-t", "1")


def test_networkd_started_again_takes_nothing_away(cluster: Cluster) -> None:
    """By its own files, without the watch; with it, what somebody else takes comes back and is told."""
    cluster.on("n1", "systemctl", "stop", "rbops-watch.service")
    before = cluster.on("n1", "sh", "-c", "ip rule; ip route show table 82; ip address show ext1")
    cluster.on("n1", "systemctl", "restart", "systemd-networkd.service")
    cluster.on("n1", "networkctl", "reload")
    assert cluster.on("n1", "sh", "-c", "ip rule; ip route show table 82; ip address show ext1") == before
    cluster.on("n1", "ip", "rule", "del", "pref", "85")
    servers = cluster.verb("status", "--format", "json").json["servers"]
    assert "network incomplete" in servers["n1"]["problems"]
    cluster.on("n1", "systemctl", "start", "rbops-watch.service")
    assert "1 received" in ping(cluster, 1, "198.18.0.2")
    told = cluster.verb("status").out
    assert "n1: restored after another program took it away: policy rules: pref 85" in told
    assert json.loads(cluster.on("n1", "rbops-node", "diff", "--json")) == []
