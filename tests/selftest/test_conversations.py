"""A capture's flows on the router's ports: who is behind which, in what order; and through a real data plane."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.capture import read_capture
from rbops.capture.flows import flows_of
from rbops.capture.pcapng import PcapngWriter
from rbops.errors import UsageError
from rbops.selftest.conversations import Conversations, mapped
from rbops.selftest.options import SelftestOptions
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic, sent_in_order
from tests.support.errors import raises

from .test_real_dataplane import Cluster, cluster

__all__ = ["cluster"]

PACKETS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 40), st.integers(60, 1514)), min_size=1, max_size=60
)


def frame(source: str, destination: str, port: int, length: int) -> bytes:
    """UDP of ``length`` bytes in all, without FCS."""
    ends = b"".join(bytes(map(int, address.split("."))) for address in (source, destination))
    udp = struct.pack(">HHHH", port, 53, length - 34, 0)
    head = struct.pack(">BBHHHBBH", 0x45, 0, length - 14, 0, 0, 64, 17, 0)
    return (bytes(12) + b"\x08\x00" + head + ends + udp).ljust(length, b"\0")


def capture(path: Path, frames: list[bytes]) -> Path:
    with path.open("wb") as file:
        writer = PcapngWriter(file, "test")
        port = writer.interface("x")
        for number, one in enumerate(frames):
            writer.packet(port, number * 1000, one)
    return path


def test_hosts_and_flows_are_numbered_as_they_come(tmp_path: Path) -> None:
    path = capture(
        tmp_path / "x.pcapng",
        [
            frame("10.0.0.1", "10.0.0.2", 1000, 60),
            b"\xff" * 12 + b"\x08\x06" + bytes(46),
            frame("10.0.0.2", "10.0.0.1", 2000, 600),
            frame("10.0.0.1", "10.0.0.2", 1000, 61),
            frame("10.0.0.3", "10.0.0.1", 1000, 62),
        ],
    )
    found = flows_of(read_capture(path), str(path), 100)
    assert found.packets == ((0, 1, 0, 60), (1, 0, 1, 600), (0, 1, 0, 61), (2, 0, 2, 62))
    assert found.skipped == 1
    assert flows_of(read_capture(path), str(path), 2).packets == found.packets[:2]
    with raises(UsageError, "capture.no-ipv4"):
        only = capture(tmp_path / "arp.pcapng", [b"\xff" * 12 + b"\x08\x06" + bytes(46)])
        flows_of(read_capture(only), str(only), 2)


def test_both_directions_are_between_the_same_ports() -> None:
    found = mapped(Conversations("x", ((0, 1, 0, 60), (1, 0, 1, 1514), (0, 1, 0, 100), (2, 0, 2, 60))), 3, 8)
    assert found.order == {0: ((1, 0, 64), (1, 0, 104)), 1: ((0, 0, 1518),), 2: ((0, 0, 64),)}
    assert found.parts == {0: 1.0, 1: 0.5, 2: 0.5}
    assert (found.busiest, found.flows, found.shared, found.moved) == (1.0, 3, 0, 0)


@given(PACKETS, st.integers(2, 5), st.integers(1, 4))
def test_order_and_sizes_are_those_of_the_capture(
    packets: list[tuple[int, int, int, int]], testers: int, most: int
) -> None:
    """At each port; nothing is for the port that it comes from; and alike each time."""
    known = Conversations("x", tuple(packets))
    found = mapped(known, testers, most)
    assert found == mapped(known, testers, most)
    assert sum(len(order) for order in found.order.values()) == len(packets)
    for near, order in found.order.items():
        assert all(0 <= to < testers and to != near and flow < most for to, flow, _ in order)
    lengths = sorted(size for order in found.order.values() for _, _, size in order)
    assert lengths == sorted(min(1518, max(64, size + 4)) for _, _, _, size in packets)
    whole = Traffic("x", FrameSizes((64,), "x"), {}, 1, 1, flows=most, order=found.order)
    for near, order in found.order.items():
        entries = [struct.unpack_from("<4I", whole.steps(near), 16 * at) for at in range(len(order))]
        turns = whole.turns(near)
        assert [(*turns[entry], length + 4) for entry, length, _, _ in entries] == list(order)
        seen: dict[int, int] = {}
        for entry, _, nth, _ in entries:
            assert nth == seen.get(entry, 0)
            seen[entry] = nth + 1
        assert all(seen[entry] == count for entry, _, _, count in entries)
        for frames in (0, 1, len(order), 2 * len(order) + 1):
            assert sum(sent_in_order(frames, order, to) for to in range(testers)) == frames


@pytest.mark.root
def test_a_capture_through_the_router(cluster: Cluster) -> None:
    """Every packet arrives whole, of its size, at its port; the counts are those of whole passes and a part."""
    packets = tuple(
        (host, (host + 1 + number % 3) % 7, host * 3 + number % 3, 60 + 37 * number % 1400)
        for number in range(100)
        for host in (number % 7, (number * 3) % 5)
    )
    wanted = Conversations("x.pcap", packets)
    result = cluster.run(SelftestOptions(phases=("capture",), capture=wanted))
    assert result.faults == ()
    (phase,) = result.phases
    assert (phase.name, phase.mix, phase.lost, phase.sent > 200) == ("capture", "x.pcap", 0, True)
    here = mapped(wanted, 4, 256)
    for pair in phase.pairs:
        source = next(one for one in phase.sources if one.port == pair.source)
        assert pair.received == pair.sent == sent_in_order(source.sent, here.order[pair.source], pair.destination)
    assert {one.size for one in phase.sizes} == {size for order in here.order.values() for _, _, size in order}
