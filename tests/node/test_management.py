"""The management network is not the router's: frames made by a tester, and what leaves the server by which device.

Runs on kernels with and without VRFs (tests/fullkernel).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from rbops.node.matched import Match, Matcher, neighbors
from rbops.node.sflow import Router
from tests.node.conftest import Server, command, made_server
from tests.support.netns import inside
from tests.support.packets import (
    ARP,
    DF,
    EVERYONE,
    ICMP,
    IPV4,
    TCP,
    TESTER,
    arp,
    datagram,
    echo,
    listen,
    said,
    segment,
)

pytestmark = pytest.mark.root

NEAR, OWN, MANAGEMENT, OUTSIDE = "198.18.0.2", "198.18.0.1", "10.1.0.1", "8.8.8.8"
FAR = "198.18.1.2"


@dataclass
class Wires:
    """The far ends of the server's cables, listened to; ``mgmt`` is the management network."""

    server: Server
    sockets: dict[str, socket.socket]
    macs: dict[str, bytes]

    def send(self, data: bytes, kind: int = IPV4, to: bytes | None = None, port: str = "ext0") -> None:
        frame = (to or self.macs[port]) + TESTER + struct.pack("!H", kind) + data
        self.sockets[port].send(frame.ljust(60, b"\0"))

    def answers(self) -> dict[str, list[bytes]]:
        """IPv4 and ARP frames that left by each device, until the server has answered an echo that is sent last."""
        self.send(echo(NEAR, OWN, size=99))
        found: dict[str, list[bytes]] = {port: [] for port in self.sockets}
        while True:
            frame = self.sockets["ext0"].recv(2048)
            if len(frame) == 14 + 20 + 8 + 99 and frame[34:35] == b"\0":
                break
            found["ext0"].append(frame)
        for port, link in self.sockets.items():
            link.settimeout(0.05)
            while True:
                try:
                    found[port].append(link.recv(2048))
                except TimeoutError:
                    break
            link.settimeout(10)
        kinds = (struct.pack("!H", IPV4), struct.pack("!H", ARP))
        return {port: [frame for frame in frames if frame[12:14] in kinds] for port, frames in found.items()}


@pytest.fixture(scope="module", params=["default", "none"], ids=["routed", "isolated"])
def wires(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    """A configured server with a management network, on which services listen on all addresses."""
    with made_server(tmp_path_factory.mktemp("server")) as server, managed(server, request.param) as made:
        yield made


def test_samples_tell_their_route(wires: Wires) -> None:
    """As the policy rules have it, with and without VRFs; the management's default route is not the router's."""
    with inside(f"/proc/{wires.server.pid}/ns/net"):
        asked = Matcher({4: OWN}, neighbors(wires.server.etc / "routes.csv"))
    try:
        found = {to: asked.match(IPv4Address(to).packed) for to in (NEAR, FAR, OUTSIDE)}
        assert found == {
            NEAR: Match(24, None),
            FAR: Match(32, IPv4Address("169.254.1.1").packed),
            OUTSIDE: None,
        }
        far = asked.router(bytes(12) + b"\x08\x00" + bytes(12) + IPv4Address(NEAR).packed + IPv4Address(FAR).packed)
        assert far == Router(IPv4Address(FAR).packed, 24, 32)
    finally:
        asked.close()


def serving(device: str) -> list[socket.socket]:
    """SSH's port and echo's on all addresses, as daemons have them; in a VRF where ``device`` is one."""
    found = []
    for kind, port in ((socket.SOCK_STREAM, 22), (socket.SOCK_DGRAM, 7)):
        service = socket.socket(socket.AF_INET, kind)
        if device:
            service.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        service.bind(("0.0.0.0", port))  # noqa: S104
        if kind == socket.SOCK_STREAM:
            service.listen()
        found.append(service)
    return found


@contextmanager
def managed(server: Server, routes: str) -> Iterator[Wires]:
    command("ip", "-n", server.peer, "link", "add", "p-mgmt", "type", "veth", "peer", "name", "mgmt")
    command("ip", "-n", server.peer, "link", "set", "mgmt", "netns", str(server.pid))
    command("ip", "-n", server.peer, "link", "set", "p-mgmt", "up")
    command("ip", "-n", server.peer, "link", "set", "p-ext0", "address", "02:4e:00:00:00:02")
    server.run("sh", "-c", "ip link set lo up && ip address add 10.1.0.1/24 dev mgmt && ip link set mgmt up")
    server.run("ip", "neigh", "add", "10.1.0.9", "lladdr", "02:4e:00:00:00:09", "dev", "mgmt", "nud", "permanent")
    if routes == "default":
        server.run("ip", "route", "add", "default", "via", "10.1.0.9")
    server.install()
    server.node("apply")
    ports = ("ext0", "int1", "int2", "int3", "mgmt")
    links = {link["ifname"]: link["address"] for link in server.json("ip", "-json", "link", "show") if link}
    macs = {port: bytes.fromhex(links[port].replace(":", "")) for port in ports}
    with inside(server.peer):
        sockets = {port: listen(f"p-{port}") for port in ports}
    with inside(f"/proc/{server.pid}/ns/net"):
        services = serving("rbops" if "rbops" in links else "")
    try:
        yield Wires(server, sockets, macs)
    finally:
        for link in (*sockets.values(), *services):
            link.close()


def test_answers_come_from_the_routers_addresses(wires: Wires) -> None:
    """Also about what came over the fabric: path MTU discovery needs answers that filters let pass.

    Comes first: the kernel tells a tester only a few times that it has no route (net.ipv4.route.error_burst).
    """
    # Two errors in a second to the same tester are held back (icmp_ratelimit).
    wires.server.run("sysctl", "-q", "net.ipv4.icmp_ratelimit=0")
    wires.server.run("ip", "link", "set", "ext0", "mtu", "1280")
    wires.send(echo(NEAR, "9.9.9.9"))
    wires.send(arp(NEAR, OWN), ARP, EVERYONE)
    wires.send(echo(NEAR, OWN))
    wires.send(echo(NEAR, "203.0.113.9", ttl=1))
    # To this server's kernel, and a neighbour whose MAC it does not know: over the fabric's address for the kernel.
    wires.send(echo(FAR, NEAR, flags=DF, size=1400), to=bytes.fromhex("025200000000"), port="int1")
    wires.send(echo(FAR, NEAR, ttl=1), to=bytes.fromhex("025200000000"), port="int1")
    found = wires.answers()
    wires.server.run("ip", "link", "set", "ext0", "mtu", "1500")
    answered = {said(frame) for frame in found["ext0"] if frame[12:14] == struct.pack("!H", IPV4)}
    assert answered == {(OWN, NEAR, 0, 0), (OWN, NEAR, 11, 0), (OWN, NEAR, 3, 0)}
    (reply,) = (frame for frame in found["ext0"] if frame[12:14] == struct.pack("!H", ARP))
    assert (reply[6:12], reply[28:32]) == (wires.macs["ext0"], IPv4Address(OWN).packed)
    assert {said(frame) for frame in found["int1"]} == {(OWN, FAR, 3, 4), (OWN, FAR, 11, 0)}
    assert found["mgmt"] == []


def test_nothing_of_a_data_port_reaches_or_leaves_by_the_management(wires: Wires) -> None:
    for target in (MANAGEMENT, "10.1.0.9", "10.1.0.255", OUTSIDE, "127.0.0.1"):
        wires.send(echo(NEAR, target))
        wires.send(echo(OUTSIDE, target))
        wires.send(segment(NEAR, target, 22))
        wires.send(datagram(NEAR, target, 7))
        wires.send(arp(NEAR, target), ARP, EVERYONE)
        wires.send(arp(NEAR, target), ARP)
    wires.send(echo(NEAR, "255.255.255.255"), to=EVERYONE)
    wires.send(datagram(OUTSIDE, "255.255.255.255", 7), to=EVERYONE)
    wires.send(echo(OUTSIDE, "224.0.0.1"), to=bytes.fromhex("01005e000001"))
    for source in (OUTSIDE, "10.1.0.9", MANAGEMENT, "10.1.0.77"):
        wires.send(echo(source, OWN))
        wires.send(segment(source, OWN, 22))
        wires.send(segment(source, OWN, 23))
        wires.send(datagram(source, OWN, 7))
        wires.send(datagram(source, OWN, 9))
        wires.send(echo(source, "203.0.113.9", ttl=1))
        wires.send(echo(source, "9.9.9.9"))
    found = wires.answers()
    assert found["mgmt"] == []
    answers = [said(frame) for frame in found["ext0"] if frame[12:14] == struct.pack("!H", IPV4)]
    assert {source for source, _, _, _ in answers} <= {OWN}
    assert {target for _, target, _, _ in answers} <= {NEAR}
    # Nobody is told anything of the management's addresses but that no route leads there.
    assert {(kind, code) for _, _, kind, code in answers} <= {(3, 0), (3, 1)}
    assert [frame for frame in found["ext0"] if frame[12:14] == struct.pack("!H", ARP)] == []


def test_the_server_itself_uses_both_networks(wires: Wires) -> None:
    """Its management works as before, and it reaches the router's networks."""
    run = wires.server.run
    assert "dev mgmt" in run("ip", "route", "get", "10.1.0.9").stdout
    assert "dev int2" in run("ip", "route", "get", "198.18.2.1").stdout
    assert "local" in run("ip", "route", "get", MANAGEMENT).stdout
    # Who is on the management network is answered there.
    wires.send(echo("10.1.0.9", MANAGEMENT), port="mgmt")
    found = wires.answers()
    assert [said(frame) for frame in found["mgmt"]] == [(MANAGEMENT, "10.1.0.9", 0, 0)]
    asked = run("ip", "route", "get", OUTSIDE, "from", NEAR, "iif", "ext0", check=False)
    assert "unreachable" in asked.stderr


def test_ipv6_is_off_on_data_ports(wires: Wires) -> None:
    """No address, no answer; the management keeps it."""
    shown = wires.server.json("ip", "-json", "-6", "address", "show")
    assert {link["ifname"] for link in shown if link} <= {"lo", "mgmt"}


def test_a_vrf_where_the_kernel_has_them(wires: Wires) -> None:
    """Asked of the kernel itself; the node program's rows and its status say the same."""
    run = wires.server.run
    has = run("ip", "link", "add", "probe", "type", "vrf", "table", "99", check=False).returncode == 0
    run("ip", "link", "del", "probe", check=False)
    inside_it = {link["ifname"] for link in wires.server.json("ip", "-json", "link", "show") if link.get("master")}
    assert inside_it == ({"ext0", "int1", "int2", "int3"} if has else set())
    rows = {(row["subject"], row["setting"]): row["have"] for row in wires.server.node("show")}
    assert (("VRF", "rbops") in rows) == has
    assert (("policy rules", "pref 82 iif rbops lookup 82") in rows) == has
    assert wires.server.node("status")["separation"] == ("vrf" if has else "rules")
    assert wires.server.node("diff") == []


SEEN = {
    "ssh": lambda wires: wires.send(segment(NEAR, OWN, 22)),
    "closed": lambda wires: wires.send(segment(NEAR, OWN, 23)),
    "udp": lambda wires: wires.send(datagram(NEAR, OWN, 7)),
}


def replies(wires: Wires) -> set[str]:
    """What a tester finds open: by flags of TCP, by echoes and errors."""
    for send in SEEN.values():
        send(wires)
    found = set()
    for frame in wires.answers()["ext0"]:
        protocol, port = frame[23], int.from_bytes(frame[34:36], "big")
        if protocol == TCP:
            found.add(f"{port} {'open' if frame[47] & 2 else 'refused'}")
        elif protocol == ICMP and frame[34] == 3:
            found.add(f"unreachable {frame[35]}")
    return found


def settled(wires: Wires, want: set[str]) -> set[str]:
    """What is found, asked up to ten times: all of a machine's namespaces share one limit of ICMP errors a second.

    Of Linux before 6.12: ``icmp_msgs_per_sec``, Documentation/networking/ip-sysctl.rst.
    """
    for _ in range(10):
        found = replies(wires)
        if found == want:
            break
        time.sleep(0.2)
    return found


def test_no_service_listens_on_the_routers_addresses(wires: Wires) -> None:
    """One does on all addresses of the server, and is not reached until the plan names it."""
    closed = {"22 refused", "23 refused", "unreachable 3"}
    assert settled(wires, closed) == closed
    wires.server.install(services=["ssh", "udp/7"])
    changes = wires.server.node("apply")["changes"]
    assert ("services", "ssh, udp/7") in {(c["subject"], c["want"]) for c in changes}
    assert replies(wires) == {"22 open", "23 refused"}
    wires.server.install()
    wires.server.node("apply")
    # An open connection's answer is sent again for a while.
    assert settled(wires, closed) - {"22 open"} == closed


def test_a_changed_filter_is_seen_and_restored(wires: Wires) -> None:
    assert wires.server.node("diff") == []
    wires.server.run("nft", "flush", "chain", "ip", "rbops", "input")
    (found,) = wires.server.node("diff", code=1)
    assert (found["subject"], found["have"]) == ("services", "another table ip rbops")
    wires.server.node("apply")
    assert wires.server.node("diff") == []
