"""What hosts beyond the router's ports may send: RFC 1812's behaviours, floods; and the units' sandboxes."""

from __future__ import annotations

import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bench import flood
from rbops.selftest.wire import internet_checksum
from tests.dataplane.frames import ethernet, ipv4
from tests.support.netns import inside
from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

HOST, FAR = "198.18.0.2", "198.18.3.2"
ROUTER, FAR_ROUTER = "198.18.0.1", "198.18.3.1"
EVERYBODY = b"\xff" * 6
MARK = b"rbops-stranger-"
QUIET_S = 0.4


@dataclass
class Wire:
    """A packet socket on a tester's device; ``mac`` is the router's on that port."""

    socket: socket.socket
    mac: bytes
    own: bytes

    def send(
        self, packet: bytes, *, to: bytes | None = None, source: bytes | None = None, protocol: int = 0x0800
    ) -> None:
        frame = ethernet(to or self.mac, packet, source=source or self.own, protocol=protocol)
        self.socket.send(frame)

    def receive(self, wanted: Callable[[bytes], bool], seconds: float = QUIET_S) -> bytes | None:
        """The first frame that ``wanted`` takes, within ``seconds``; what this host sent itself is not looked at."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            frame, origin = self.socket.recvfrom(2048)
            if origin[2] != socket.PACKET_OUTGOING and wanted(frame):
                return frame
        return None


@contextmanager
def wire(cluster: Cluster, port: int) -> Iterator[Wire]:
    tester = cluster.lab.testers[port]
    server = cluster.plan.port_owner[port].name
    mac = cluster.on(server, "cat", f"/sys/class/net/ext{port}/address").strip()
    # A socket stays in the namespace that it was made in.
    with inside(tester.netns):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        link.bind((tester.device, 0))
    with link:
        yield Wire(link, bytes.fromhex(mac.replace(":", "")), link.getsockname()[4])


def echo(number: int) -> bytes:
    text = MARK + bytes([number])
    head = struct.pack(">BBHHH", 8, 0, 0, 7, number)
    return head[:2] + struct.pack(">H", internet_checksum(head + text + bytes(len(text) % 2))) + head[4:] + text


def has_mark(number: int) -> Callable[[bytes], bool]:
    return lambda frame: MARK + bytes([number]) in frame


def icmp(kind: int, code: int) -> Callable[[bytes], bool]:
    """Takes ICMP errors of that kind about one of our packets."""
    return lambda frame: frame[12:14] == b"\x08\x00" and frame[23] == 1 and (frame[34], frame[35]) == (kind, code)


DISCARDED = {
    "source 0/8": ipv4(FAR, source="0.1.2.3", payload=MARK),
    "source 127/8": ipv4(FAR, source="127.0.0.1", payload=MARK),
    "source multicast": ipv4(FAR, source="224.0.0.1", payload=MARK),
    "source class E": ipv4(FAR, source="240.0.0.1", payload=MARK),
    "source broadcast": ipv4(FAR, source="255.255.255.255", payload=MARK),
    "source of the router": ipv4(FAR, source=ROUTER, payload=MARK),
    "source of the router's far port": ipv4(FAR, source=FAR_ROUTER, payload=MARK),
    "destination 127/8": ipv4("127.0.0.1", payload=MARK),
    "destination class E": ipv4("240.0.0.1", payload=MARK),
    "destination broadcast": ipv4("255.255.255.255", payload=MARK),
    "bad checksum": ipv4(FAR, payload=MARK, spoil=1),
    "version 6": ipv4(FAR, payload=MARK, version=6),
    "header of four words": ipv4(FAR, payload=MARK, words=4),
    "header longer than the frame": ipv4(FAR, payload=b"", words=15),
    "total length past the frame's end": ipv4(FAR, payload=MARK, length=1200),
    "total length below the header's": ipv4(FAR, payload=MARK, length=19),
    "cut in the header": ipv4(FAR, payload=MARK)[:12],
    "directed broadcast of a far port": ipv4("198.18.3.255", payload=MARK),
    "directed broadcast of the own port": ipv4("198.18.0.255", payload=MARK),
}


@pytest.mark.parametrize("name", DISCARDED)
def test_discarded_without_an_answer(cluster: Cluster, name: str) -> None:
    """No packet of it leaves the router, forwarded or as an error; RFC 1812, 4.3.2.7 and 5.3.7, RFC 2644."""
    with wire(cluster, 0) as near, wire(cluster, 3) as far:
        near.send(DISCARDED[name])
        assert far.receive(lambda frame: MARK in frame) is None
        assert near.receive(lambda frame: frame[12:14] == b"\x08\x00" and frame[23] == 1, 0.1) is None


def test_fragments_are_forwarded_as_they_are(cluster: Cluster) -> None:
    with wire(cluster, 0) as near, wire(cluster, 3) as far:
        for number, fragment in enumerate((0x2000, 0x20B9, 0x00B9)):
            near.send(ipv4(FAR, payload=MARK + bytes([number]), fragment=fragment))
            frame = far.receive(has_mark(number))
            assert frame is not None
            assert frame[20:22] == struct.pack(">H", fragment)


@pytest.mark.parametrize("ttl", [0, 1])
def test_time_exceeded(cluster: Cluster, ttl: int) -> None:
    """By the input server, from the port that the packet came in at."""
    with wire(cluster, 0) as near, wire(cluster, 3) as far:
        near.send(ipv4(FAR, ttl=ttl, payload=MARK + b"\1"))
        answer = near.receive(icmp(11, 0), 2.0)
        assert answer is not None
        assert answer[26:30] == socket.inet_aton(ROUTER)
        assert far.receive(has_mark(1), 0.1) is None


def test_for_the_router_itself_the_time_to_live_does_not_matter(cluster: Cluster) -> None:
    with wire(cluster, 0) as near:
        for number, address in enumerate((ROUTER, FAR_ROUTER)):
            near.send(ipv4(address, ttl=1, protocol=1, payload=echo(number)))
            answer = near.receive(lambda frame, number=number: has_mark(number)(frame) and frame[34] == 0, 2.0)
            assert answer is not None, address


def test_options_are_carried_on(cluster: Cluster) -> None:
    """Record route: the router writes itself in, and forwards (5.2.4)."""
    record = bytes([7, 11, 4]) + bytes(8) + b"\0"
    with wire(cluster, 0) as near, wire(cluster, 3) as far:
        near.send(ipv4(FAR, options=record, payload=MARK + b"\2"))
        frame = far.receive(has_mark(2), 2.0)
        assert frame is not None
        assert frame[36] == 8
        assert frame[37:39] == bytes([198, 18])


def test_hairpin(cluster: Cluster) -> None:
    """For a neighbour on the port that it came in at: forwarded, and no redirect is sent (5.2.7.2 leaves it open)."""
    with wire(cluster, 0) as near:
        near.send(ipv4(HOST, source="198.18.0.3", payload=MARK + b"\3"))
        frame = near.receive(has_mark(3), 2.0)
        assert frame is not None
        assert frame[6:12] == near.mac
        assert near.receive(lambda frame: frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 5) is None


def arp_request(source: bytes, target: str) -> bytes:
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    return head + source + socket.inet_aton(HOST) + bytes(6) + socket.inet_aton(target)


def test_arp_is_answered_for_the_ports_own_address_alone(cluster: Cluster) -> None:
    with wire(cluster, 0) as near:

        def asked(target: str) -> bytes | None:
            near.send(arp_request(near.own, target), to=EVERYBODY, protocol=0x0806)
            reply = socket.inet_aton(target)
            return near.receive(
                lambda frame: frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == reply
            )

        found = asked(ROUTER)
        assert found is not None
        assert found[22:28] == near.mac
        for foreign in (FAR, "198.18.0.77", "198.51.100.1", "127.0.0.1"):
            assert asked(foreign) is None, foreign


@pytest.mark.parametrize("mac", ["025200030001", "02560000ffff"])
def test_a_fabric_mac_opens_nothing(cluster: Cluster, mac: str) -> None:
    """Neither as destination, which would choose the output port, nor as source."""
    before = dropped(cluster, "n0")
    with wire(cluster, 0) as near, wire(cluster, 3) as far:
        near.send(ipv4(FAR, payload=MARK + b"\4"), to=bytes.fromhex(mac))
        near.send(ipv4(FAR, payload=MARK + b"\4"), source=bytes.fromhex(mac))
        assert far.receive(has_mark(4)) is None
    assert dropped(cluster, "n0")["fabric_mac"] - before["fabric_mac"] == 2


def dropped(cluster: Cluster, server: str) -> dict[str, int]:
    return flood.parse(cluster.on(server, "rbops-node", "counters"))["dropped"]


@contextmanager
def flooded(cluster: Cluster, kind: str) -> Iterator[None]:
    """Port 0's tester sends frames of that kind, as many as it can."""
    tester = cluster.lab.testers[0]
    with wire(cluster, 0) as near:
        content = flood.frame(kind, near.mac, flood.IPv4Interface(f"{ROUTER}/24"), FAR)
    command = [sys.executable, flood.__file__, str(cluster.spec), "--seconds", "60", "--frame", content.hex()]
    before = dropped(cluster, "n0")
    with subprocess.Popen(
        cluster.lab.command("t0", [*command, "--device", tester.device]), stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(f"the flood of {kind}", lambda: dropped(cluster, "n0") != before)
            yield
        finally:
            process.kill()


FLOODS = [("ttl", "ttl"), ("options", "options"), ("arp", "arp"), ("udp", "local_delivery"), ("syn", "local_delivery")]


@pytest.fixture
def ssh_listens(cluster: Cluster) -> Iterator[None]:
    """As with `services: [ssh]` in the spec; by default nothing listens on the router's addresses."""
    cluster.on("n0", "nft", "insert", "rule", "ip", "rbops", "input", "tcp", "dport", "22", "accept")
    try:
        yield
    finally:
        cluster.on("n0", "rbops-node", "apply")


@pytest.mark.usefixtures("ssh_listens")
@pytest.mark.parametrize(("kind", "reason"), FLOODS)
def test_who_uses_the_router_is_not_drowned(cluster: Cluster, kind: str, reason: str) -> None:
    """A TCP session to a router's address, pings from near and far: all live while one port is flooded."""
    before = dropped(cluster, "n0")[f"policed_{reason}"]
    with inside(cluster.lab.testers[3].netns):
        session = socket.create_connection((ROUTER, 22), timeout=20)
    with session, flooded(cluster, kind):
        assert session.recv(100).startswith(b"SSH-2.0-")
        session.sendall(b"SSH-2.0-stranger\r\n")
        assert len(session.recv(4096)) > 100  # the key exchange's first message
        for tester in ("t0", "t3"):
            said = cluster.on(tester, "ping", "-n", "-q", "-i", "0.1", "-c", "10", "-W", "5", ROUTER, check=False)
            assert " 0% packet loss" in said, f"{tester}: {said}"
    assert dropped(cluster, "n0")[f"policed_{reason}"] - before > 1000


def test_a_stranger_on_an_internal_cable_is_refused(cluster: Cluster) -> None:
    """Frames as another server would send them, from a MAC that is not the neighbour's."""
    cluster.on("t0", "ping", "-n", "-c", "1", "-W", "5", FAR)
    before = dropped(cluster, "n3")
    with inside(cluster.netns("n0")):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        link.bind(("int3", 0))
    with link, wire(cluster, 3) as far:
        link.send(
            ethernet(bytes.fromhex("025200030001"), ipv4(FAR, payload=MARK + b"\5"), source=EVERYBODY[:5] + b"\2")
        )
        assert far.receive(has_mark(5)) is None
    assert dropped(cluster, "n3")["unknown_neighbor"] - before["unknown_neighbor"] == 1
    assert "1 received" in cluster.on("t0", "ping", "-n", "-c", "1", "-W", "5", FAR)


EXPOSURE = {"rbops-watch.service": 3.0, "rbops.service": 6.5}
"""At most, by `systemd-analyze security`: as docs/threats.md states."""


@pytest.mark.parametrize("unit", EXPOSURE)
def test_units_are_no_more_exposed_than_stated(cluster: Cluster, unit: str) -> None:
    said = cluster.on("n0", "systemd-analyze", "security", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE[unit], said


def test_units_do_their_work_in_their_sandboxes(cluster: Cluster) -> None:
    """The boot unit loads the data plane anew, the watch finds a dead cable; both with what systemd leaves them."""
    cluster.on("n0", "sh", "-c", "for dev in ext0 int1; do ip link set dev $dev xdp off; done")
    cluster.on("n0", "systemctl", "restart", "rbops.service")
    assert cluster.on("n0", "systemctl", "is-active", "rbops.service").strip() == "active"
    assert '"mode": "native"' in cluster.on("n0", "rbops-node", "status")
    cluster.on("n1", "ip", "link", "set", "dev", "int0", "down")
    try:
        wait_for("the dead cable", lambda: re.search(r'"dead": \[\s*1\s*\]', cluster.on("n0", "rbops-node", "status")))
    finally:
        cluster.on("n1", "systemctl", "restart", "rbops.service")
    wait_for("the cable", lambda: re.search(r'"dead": \[\s*\]', cluster.on("n0", "rbops-node", "status")))
    cluster.healthy()
