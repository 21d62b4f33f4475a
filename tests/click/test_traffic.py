"""The rendered configurations in a running Click: what RFC 1812 asks, frame by frame, at the cables' far ends.

The dialect socket runs with any Click; ``dpdk`` and ``fastclick`` with one that has DPDK, on packet sockets with a
queue pair for each core.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click, elements
from rbops.planner import load_plan
from tests.click.esp import decrypted
from tests.click.test_ipsec import AUTH, KEY, datagram, keys_library, written
from tests.click.wires import Rig, mac_of, rig
from tests.dataplane.frames import SOURCE_MAC, checksum, ethernet, fabric, forwarded, ipv4
from tests.render.test_click import spec

pytestmark = [pytest.mark.click, pytest.mark.root]

LINKS = ("int1", "int2", "int3")
ROUTER, NEAR, FAR = "198.18.0.1", "198.18.0.2", "203.0.113.9"
SMALL = 600
TUNNEL = "[{peer: 198.18.3.2, prefixes: [192.0.2.0/24], spi: 7, keys: peer.keys}]"


@pytest.fixture(
    scope="module",
    params=["socket-route", "socket-ipsec", "dpdk-route", "fastclick-route", "fastclick-ipsec"],
)
def net(
    request: pytest.FixtureRequest, installed: Click, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    dialect, _, application = request.param.partition("-")
    if dialect == "fastclick" and not installed.fastclick:
        pytest.skip("needs FastClick")
    if dialect == "dpdk" and installed.fastclick:
        pytest.skip("needs a Click with DPDK that is not FastClick, which the role refuses for this dialect")
    if dialect != "socket" and "FromDPDKDevice" not in elements(installed):
        pytest.skip("needs a Click with DPDK")
    if dialect != "socket" and (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs: DPDK's threads never wait")
    folder = tmp_path_factory.mktemp(f"{dialect}-{application}")
    path = written(folder, TUNNEL, dialect) if application == "ipsec" else spec(folder, dialect)
    plan = load_plan(path)
    # Links with a small MTU, so that there is something to be cut.
    ports = tuple(replace(p, mtu=SMALL) if p.kind == "internal" else p for p in plan.server("n0").ports)
    plan = replace(plan, servers=(replace(plan.servers[0], ports=ports), *plan.servers[1:]))
    (folder / "ipsec.click").write_text(keys_library([tunnel.keys for tunnel in plan.forwarding.tunnels]))
    with rig(plan, installed, package, folder) as made:
        yield made


def enter(net: Rig, *packets: bytes) -> None:
    for packet in packets:
        net.wires["ext0"].send(ethernet(mac_of(0), packet))


def echo(destination: str, source: str, number: int) -> bytes:
    body = struct.pack(">BBHHH", 8, 0, 0, number, 1) + b"rbops..."
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    return ipv4(destination, source=source, protocol=1, payload=body)


def address_of(packet: bytes, at: int) -> str:
    return str(IPv4Address(packet[at : at + 4]))


def error(net: Rig) -> tuple[int, int, bytes]:
    """Type, code and rest of the next ICMP message that the neighbor on ext0 gets from the router."""
    ((_, frame),) = net.receive("ext0")
    assert frame[:14] == SOURCE_MAC + mac_of(0) + b"\x08\x00"
    packet = frame[14:]
    assert (packet[9], address_of(packet, 12), address_of(packet, 16)) == (1, ROUTER, NEAR)
    size = struct.unpack_from(">H", packet, 2)[0]
    head = packet[0] % 16 * 4
    assert checksum(packet[:head]) == 0
    message = packet[head:size]
    assert checksum(message + bytes(len(message) % 2)) == 0
    return message[0], message[1], message[4:]


def test_forwarded(net: Rig) -> None:
    packet = ipv4(FAR, ttl=9)
    enter(net, packet)
    ((link, frame),) = net.receive(*LINKS)
    number = int(link.removeprefix("int"))
    assert frame[:60] == forwarded(ethernet(mac_of(0), packet), fabric(3, 1), mac_of(number))[:60]


def test_a_burst_stays_whole_and_in_order(net: Rig) -> None:
    numbers = range(100)
    enter(net, *(ipv4(FAR, payload=b"\x30\x39\x00\x09\x00\x1a\x00\x00" + bytes([i]) * 18) for i in numbers))
    found = net.receive(*LINKS, count=len(numbers))
    assert len({link for link, _ in found}) == 1
    assert [frame[42] for _, frame in found] == list(numbers)


def test_back_to_where_it_came_from(net: Rig) -> None:
    packet = ipv4("203.0.113.200", ttl=2)
    enter(net, packet)
    ((_, frame),) = net.receive("ext0")
    assert frame[:60] == forwarded(ethernet(mac_of(0), packet), SOURCE_MAC, mac_of(0))[:60]


def test_time_exceeded(net: Rig) -> None:
    packet = ipv4(FAR, ttl=1)
    enter(net, packet)
    kind, code, rest = error(net)
    assert (kind, code) == (11, 0)
    assert rest[4:32] == packet[:28]


def test_no_route(net: Rig) -> None:
    enter(net, ipv4("192.88.99.1"))
    assert error(net)[:2] == (3, 0)


def test_too_big_and_not_to_be_cut(net: Rig) -> None:
    enter(net, ipv4(FAR, payload=bytes(1400), fragment=0x4000))
    kind, code, rest = error(net)
    assert (kind, code) == (3, 4)
    assert struct.unpack(">HH", rest[:4]) == (0, SMALL)


def test_cut_into_fragments(net: Rig) -> None:
    payload = bytes(number % 251 for number in range(1400))
    enter(net, ipv4(FAR, payload=payload, identification=77))
    found = {}
    for _, frame in net.receive(*LINKS, count=3):
        packet = frame[14:]
        size, number, place = struct.unpack_from(">HHH", packet, 2)
        assert (number, size <= SMALL, checksum(packet[:20])) == (77, True, 0)
        found[place & 0x1FFF] = (place >> 13, packet[20:size])
    assert [flags for _, (flags, _) in sorted(found.items())] == [1, 1, 0]
    assert b"".join(part for _, (_, part) in sorted(found.items())) == payload


def test_options_are_processed(net: Rig) -> None:
    enter(net, ipv4(FAR, options=bytes([7, 7, 4, 0, 0, 0, 0, 0])))
    ((_, frame),) = net.receive(*LINKS)
    assert frame[34:42] == bytes([7, 7, 8]) + IPv4Address(ROUTER).packed + b"\0"
    assert checksum(frame[14:42]) == 0


def test_a_wrong_option(net: Rig) -> None:
    enter(net, ipv4(FAR, options=bytes([7, 9, 4, 0])))
    assert error(net)[:2] == (12, 0)


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(mac_of(0), ipv4(FAR, spoil=1)),
        ethernet(mac_of(0), ipv4(FAR, length=900)),
        ethernet(mac_of(0), ipv4(FAR, version=6)),
        ethernet(mac_of(0), ipv4(FAR, source="127.0.0.1")),
        ethernet(mac_of(0), ipv4("240.0.0.1")),
        ethernet(mac_of(7), ipv4(FAR)),
    ],
    ids=["checksum", "length", "version", "source", "destination", "other-host"],
)
def test_dropped(net: Rig, frame: bytes) -> None:
    """The next good packet is the next to come out."""
    net.wires["ext0"].send(frame)
    enter(net, ipv4(FAR, ttl=33))
    ((_, found),) = net.receive(*LINKS, "ext0")
    assert found[22] == 32


def test_the_host_answers(net: Rig) -> None:
    enter(net, echo(ROUTER, NEAR, 1))
    assert error(net)[:2] == (0, 0)


def test_the_host_answers_over_the_fabric(net: Rig) -> None:
    net.wires["int1"].send(ethernet(fabric(0, 0), echo(ROUTER, "198.18.1.2", 2), source=mac_of(9)))
    ((_, frame),) = net.receive(*LINKS)
    assert frame[:6] == fabric(1, 1)
    assert (address_of(frame, 26), address_of(frame, 30), frame[34]) == (ROUTER, "198.18.1.2", 0)


def test_later_servers_go_by_the_mac_address(net: Rig) -> None:
    """The IP header is neither read nor changed: this one is none."""
    nonsense = bytes(range(100))
    net.wires["int2"].send(ethernet(fabric(0, 1), nonsense, source=mac_of(9)))
    ((_, frame),) = net.receive("ext0")
    assert frame == ethernet(SOURCE_MAC, nonsense, source=mac_of(0))
    net.wires["int1"].send(ethernet(fabric(3, 1), nonsense, source=mac_of(9)))
    ((link, frame),) = net.receive(*LINKS)
    assert (link, frame) == ("int3", ethernet(fabric(3, 1), nonsense, source=mac_of(3)))


def arp(operation: int, target: bytes, sender: str, asked: str) -> bytes:
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
    return head + SOURCE_MAC + IPv4Address(sender).packed + target + IPv4Address(asked).packed


def test_arp(net: Rig) -> None:
    net.wires["ext0"].send(ethernet(b"\xff" * 6, arp(1, bytes(6), NEAR, ROUTER), protocol=0x0806))
    ((_, frame),) = net.receive("ext0")
    assert frame[:14] == SOURCE_MAC + mac_of(0) + b"\x08\x06"
    assert frame[20:42] == b"\0\x02" + mac_of(0) + IPv4Address(ROUTER).packed + SOURCE_MAC + IPv4Address(NEAR).packed


def test_an_unknown_neighbor_is_asked_for(net: Rig) -> None:
    enter(net, ipv4("198.18.0.77", ttl=5))
    ((_, frame),) = net.receive("ext0")
    assert frame[:14] == b"\xff" * 6 + mac_of(0) + b"\x08\x06"
    assert frame[38:42] == IPv4Address("198.18.0.77").packed
    net.wires["ext0"].send(ethernet(mac_of(0), arp(2, mac_of(0), "198.18.0.77", ROUTER), protocol=0x0806))
    ((_, frame),) = net.receive("ext0")
    assert (frame[:6], frame[22], address_of(frame, 30)) == (SOURCE_MAC, 4, "198.18.0.77")


def test_other_protocols_go_to_the_kernel(net: Rig) -> None:
    frame = ethernet(mac_of(0), bytes(50), protocol=0x86DD)
    net.wires["ext0"].send(frame)
    found = b""
    while found[12:14] != b"\x86\xdd":
        ((_, found),) = net.receive("rbops0")
    assert found == frame


def test_encrypted(net: Rig, request: pytest.FixtureRequest) -> None:
    if "ipsec" not in request.node.callspec.id:
        pytest.skip("the application is route")
    enter(net, datagram(1, "192.0.2.5", 200))
    ((_, frame),) = net.receive(*LINKS)
    packet = frame[14:]
    assert (frame[:6], packet[9], address_of(packet, 16)) == (fabric(3, 1), 50, "198.18.3.2")
    assert decrypted(packet[20 : struct.unpack_from(">H", packet, 2)[0]], KEY, AUTH)[0] == datagram(
        1, "192.0.2.5", 200, ttl=63
    )
