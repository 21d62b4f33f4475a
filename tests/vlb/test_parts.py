from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.capture import read_capture
from rbops.errors import UsageError
from rbops.selftest import reordering as reference
from rbops.selftest.reordering import Reordering
from rbops.vlb import matrix as matrices
from rbops.vlb.model import Flow, flow_hash
from rbops.vlb.queues import Line, serve
from rbops.vlb.reordering import measure
from rbops.vlb.replay import packets_of, replay
from tests.support.captures import pcap
from tests.support.errors import raises

R = 10_000_000_000
frames = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500), st.integers(1, 200)), max_size=80)


@settings(max_examples=200, deadline=None)
@given(frames, st.lists(st.integers(0, 400), min_size=4, max_size=4), st.integers(0, 600), st.integers(1, 4))
def test_queues_are_those_of_a_loop(sent: list[tuple[int, int, int]], free: list[int], buffer: int, batch: int) -> None:
    """Against the obvious program, frame by frame, with batches, full buffers and links busy from before."""
    line = Line(batch, 30, buffer)
    link, arrive, duration = (np.array([frame[index] for frame in sent], dtype=np.int64) for index in range(3))
    served = serve(link, arrive, duration, np.array(free, dtype=np.int64), line)
    for number in range(4):
        mine = sorted((frame[1], index) for index, frame in enumerate(sent) if frame[0] == number)
        last = free[number]
        for place, (time, index) in enumerate(mine):
            group = mine[place - place % batch : place - place % batch + batch]
            ready = max(time, min(group[-1][0], group[0][0] + 30)) if batch > 1 else time
            begin = max(ready, last)
            lost = begin - time > buffer
            assert (served.dropped is not None and bool(served.dropped[index])) == lost
            if not lost:
                last = begin + sent[index][2]
                assert served.left[index] == last
        assert served.free[number] == last


def test_many_links_are_served_as_few_are() -> None:
    random = np.random.default_rng(1)
    link = random.integers(0, 3000, 20_000)
    arrive, duration = random.integers(10**12, 10**12 + 10**6, 20_000), random.integers(50, 1300, 20_000)
    line = Line(16, 12_800, 10**9)
    whole = serve(link, arrive, duration, np.zeros(3000, dtype=np.int64), line)
    for number in (0, 77, 2999):
        mine = np.flatnonzero(link == number)
        alone = serve(
            np.zeros(len(mine), dtype=np.int64), arrive[mine], duration[mine], np.zeros(1, dtype=np.int64), line
        )
        assert whole.left[mine].tolist() == alone.left.tolist()


def test_the_papers_example_is_one_sequence() -> None:
    """P1 p4 p2 p3 p5 leaves: one reordered sequence of two late packets (6.2)."""
    left = {1: 1, 4: 2, 2: 3, 3: 4, 5: 5}
    found = measure(np.zeros(5, dtype=np.int64), np.array([left[packet] for packet in (1, 2, 3, 4, 5)]))
    assert (found.packets, found.late, found.sequences) == (5, 2, 1)
    assert found.fraction == 0.2


def measure_flows(arrivals: Iterable[tuple[int, int]]) -> Reordering:
    """The self-test's metric of many flows, from (flow, sequence number) as they left."""
    flows: dict[int, list[int]] = {}
    for flow, number in arrivals:
        flows.setdefault(flow, []).append(number)
    return sum((reference.measure(numbers) for numbers in flows.values()), Reordering())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=60))
def test_reordering_is_the_self_tests(packets: list[tuple[int, int]]) -> None:
    """One metric for simulator and self-test."""
    flow = np.array([packet[0] for packet in packets], dtype=np.int64)
    left = np.array([packet[1] for packet in packets], dtype=np.int64)
    departures = sorted(range(len(packets)), key=lambda index: (packets[index][1], index))
    expected = measure_flows((packets[index][0], index) for index in departures)
    # A clock that counts in giant steps as well: then flow and time do not fit one number.
    for clock in (1, 1 << 57):
        found = measure(flow, left * clock)
        assert (found.packets, found.late, found.sequences) == (expected.packets, expected.late, expected.sequences)


def frame(flow: Flow, *, size: int = 100, tags: int = 0, fragment: int = 0, options: int = 0) -> bytes:
    header = bytes([0x45 + options, 0]) + struct.pack(">HHHBBH", size - 14, 0, fragment, 64, flow.protocol, 0)
    header += struct.pack(">II", flow.source, flow.destination) + bytes(4 * options)
    ports = struct.pack(">HH", flow.source_port, flow.destination_port)
    ethernet = bytes(12) + b"\x81\x00\x00\x05" * tags + b"\x08\x00"
    return (ethernet + header + ports).ljust(size, b"\0")


def test_ipv4_of_a_capture(tmp_path: Path) -> None:
    udp, tcp = Flow(0x0A000001, 0x0A000002, 17, 5, 6), Flow(0x0A000001, 0x0A000002, 6, 5, 6)
    icmp = Flow(0x0A000003, 0x0A000004, 1)
    packets = [
        (7.25, frame(udp)),
        (7.5, frame(tcp, tags=1, size=1000)),
        (7.75, frame(udp, tags=2)),
        (8.0, frame(Flow(udp.source, udp.destination, 17, 9, 9), fragment=0x2000)),
        (8.25, frame(udp, options=3)),
        (8.5, frame(icmp)),
        (8.75, bytes(12) + b"\x86\xdd" + bytes(60)),
    ]
    found = packets_of(read_capture(pcap(tmp_path / "a.pcap", packets, snap=80)), "a.pcap")
    assert found.skipped == 1
    assert found.time.tolist() == [0, 250_000_000, 500_000_000, 750_000_000, 1_000_000_000, 1_250_000_000]
    assert found.size.tolist() == [100, 1000, 100, 100, 100, 100]
    expected = [udp, tcp, udp, Flow(udp.source, udp.destination, 17), udp, icmp]
    assert found.key.tolist() == [flow_hash(flow) for flow in expected]


def test_a_capture_without_ipv4_is_refused(tmp_path: Path) -> None:
    capture = read_capture(pcap(tmp_path / "x.pcap", [(0.0, bytes(12) + b"\x86\xdd" + bytes(60))]))
    with pytest.raises(UsageError) as caught:
        packets_of(capture, "x.pcap")
    assert caught.value.code == "capture.no-ipv4"


def test_replay_keeps_to_matrix_line_and_load(tmp_path: Path) -> None:
    packets = [(index * 1e-4, frame(Flow(index % 300, 9, 17, index % 7, 9), size=1000)) for index in range(3000)]
    found = packets_of(read_capture(pcap(tmp_path / "b.pcap", packets, snap=80)), "b.pcap")
    offered = matrices.make("uniform", np.arange(4), R)
    trace = replay(found, offered, R)
    assert trace.duration_ns == pytest.approx(0.3e9, rel=0.01)  # as captured
    assert len(set(trace.flow_in.tolist())) == 4
    full = replay(found, offered, R, load=1.0)
    assert full.packets == 3000
    busiest = np.bincount(full.flow_in[full.flow], full.size + 24).max() * 8 / full.duration_ns
    assert busiest == pytest.approx(10, rel=0.1)
    for port in range(4):
        mine = full.flow_in[full.flow] == port
        assert np.diff(full.time[mine]).min() >= 1023 * 0.8  # a frame at a time
    slow = replay(found, offered, 1_000_000)
    assert slow.duration_ns > 1e9  # a line cannot carry more


def test_matrix_file(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("0,1e9\n2e9,5\n")
    assert matrices.read(path, 2, R).tolist() == [[0, 1e9], [2e9, 0]]


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("1,2\n", "simulate.matrix-size", None, None),
        ("1,2\n3\n", "simulate.matrix-size", 2, None),
        ("0,x\n1,0\n", "simulate.matrix-value", 1, 2),
        ("0,nan\n1,0\n", "simulate.matrix-value", 1, 2),
        ("0,1\n-1,0\n", "simulate.matrix-value", 2, 1),
        ("0,2e10\n1,0\n", "simulate.matrix-overload", 1, None),
        ("5,0\n0,5\n", "simulate.matrix-empty", None, None),
    ],
)
def test_wrong_matrix_files(tmp_path: Path, text: str, code: str, line: int | None, column: int | None) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with raises(UsageError, code, file=str(path), line=line, column=column):
        matrices.read(path, 2, R)


def test_missing_files(tmp_path: Path) -> None:
    with raises(UsageError, "simulate.matrix-file"):
        matrices.read(tmp_path / "none.csv", 2, R)
    with raises(UsageError, "simulate.matrix-name"):
        matrices.make("skewed", np.arange(4), R)
    with raises(UsageError, "simulate.one-port"):
        matrices.make("uniform", np.arange(1), R)
