"""sFlow: what a datagram looks like to others, what the sender does with a data plane, and from where it sends."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbops.capture.pcapng import PcapngWriter
from rbops.dataplane.sampled import Sample, SampledPort
from rbops.errors import Mismatch
from rbops.node import sampler, sflow
from rbops.node.sampler import Sender
from rbops.node.schema import SflowConfig
from rbops.node.system import Kernel
from tests.support.errors import raises

FRAME = (
    bytes.fromhex("024e00000001 024e00000002 0800 4500 0032 0000 0000 1e11 b7a8 c6120109 c6120209")
    + struct.pack(">HHHH", 49152, 9, 30, 0)
    + bytes(22)
)


def samples(datagram: bytes) -> list[tuple[int, bytes]]:
    """(format, content) of each sample, the head being that of an IPv4 agent."""
    assert struct.unpack_from(">II", datagram) == (5, 1)
    (count,) = struct.unpack_from(">I", datagram, 24)
    at, found = 28, []
    while at < len(datagram):
        form, size = struct.unpack_from(">II", datagram, at)
        found.append((form, datagram[at + 8 : at + 8 + size]))
        at += 8 + size
    assert (len(found), at) == (count, len(datagram))
    return found


def test_datagrams_fit_a_packet_and_are_numbered() -> None:
    one = sflow.flow_sample(sflow.FlowSample(3, 1, 10, 100, 0, len(FRAME), FRAME))
    found = list(sflow.datagrams("10.20.0.5", 7, 1234, [one] * 30))
    assert max(map(len, found)) <= sflow.MOST_BYTES
    assert [struct.unpack_from(">I", datagram, 16)[0] for datagram in found] == list(range(7, 7 + len(found)))
    assert sum(len(samples(datagram)) for datagram in found) == 30
    (ipv6,) = sflow.datagrams("2001:db8::5", 1, 0, [one])
    assert ipv6[4:24] == bytes([0, 0, 0, 2]) + bytes.fromhex("20010db8000000000000000000000005")


def test_numbers_wrap_as_their_words_do() -> None:
    counters = sflow.Counters(3, 1 << 32, 10**10, (True, False), 1 << 64, (1 << 32) + 5, 7, 8)
    content = sflow.counter_sample(counters)
    assert struct.unpack_from(">5I", content, 8) == (0, 3, 1, 1, 88)
    assert struct.unpack_from(">IIQII QI", content, 28) == (3, 6, 10**10, 1, 1, 0, 5)
    assert len(content) == 8 + 12 + 8 + 88


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_reads_a_datagram(tmp_path: Path) -> None:
    """A reader that others have written: every field is where the specification has it."""
    router = sflow.Router(bytes([198, 18, 2, 2]), 24, 19)
    flow = sflow.flow_sample(sflow.FlowSample(3, 9, 1000, 5000, 2, 1514, FRAME[:61], router))
    counters = sflow.counter_sample(sflow.Counters(4, 6, 10**10, (True, True), 11, 12, 13, 14))
    (datagram,) = sflow.datagrams("10.20.0.5", 77, 1500, [flow, counters])
    udp = struct.pack(">HHHH", 40000, 6343, 8 + len(datagram), 0) + datagram
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([10, 20, 0, 5]), bytes([10, 20, 0, 9])
    )
    path = tmp_path / "one.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, "rbops")
        frame = bytes(12) + b"\x08\x00" + ip + udp
        writer.packet(writer.interface("x"), 0, frame)
    command = ["tshark", "-r", str(path), "-d", "udp.port==6343,sflow", "-O", "sflow", "-V"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in (
        "Datagram version: 5",
        "Agent address: 10.20.0.5",
        "Sequence number: 77",
        "Sampling rate: 1 out of 1000 packets",
        "Sample pool: 5000 total packets",
        "Dropped packets: 2",
        "Frame Length: 1518",
        "Source Address: 198.18.1.9",
        "Next hop: 198.18.2.2",
        "Next hop source mask: 24",
        "Next hop destination mask: 19",
        "Interface Speed: 10000000000",
    ):
        assert line in said, said
    assert "Malformed" not in said


class Plane:
    """Has samples; ``ports`` counts as the data plane does, and begins anew with another ``number``."""

    def __init__(self) -> None:
        self.number, self.rate, self.waiting = 1, 0, list[Sample]()
        self.received, self.lost, self.loaded = 0, 0, True

    def instance(self) -> int:
        return self.number

    def sampling(self) -> Plane:
        if not self.loaded:
            raise Mismatch("nothing is loaded", code="xdp.not-loaded")
        return self

    def set_rate(self, rate: int) -> None:
        self.rate = rate

    def take(self) -> list[Sample]:
        found, self.waiting = self.waiting, []
        return found

    def ports(self) -> list[SampledPort]:
        return [SampledPort("ext0", self.received, self.lost)]

    def counters(self) -> dict[str, Any]:
        return {"ports": {"ext0": {"rx_packets": 3, "rx_bytes": 192, "tx_packets": 2, "tx_bytes": 128}}}


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def sender(collector: socket.socket, plane: Plane, tmp_path: Path) -> Iterator[Sender]:
    config = SflowConfig("127.0.0.1", collector.getsockname()[1], 100, 3600)
    made = Sender(
        config,
        {"ext0": 10**9},
        {"ext0": "lo"},
        plane,  # type: ignore[arg-type]
        Kernel(),
        lambda: "127.0.0.1",
        tmp_path / "status.json",
    )
    yield made
    made.close()


def flows(collector: socket.socket) -> list[tuple[int, ...]]:
    """sequence, source, rate, pool, drops, input, output of a datagram's flow samples."""
    return [struct.unpack_from(">7I", content) for form, content in samples(collector.recv(2000)) if form == 1]


def test_samples_are_sent_with_what_they_stand_for(sender: Sender, plane: Plane, collector: socket.socket) -> None:
    plane.received = 1000
    sender.turn()
    assert plane.rate == 100
    ((form, content),) = samples(collector.recv(2000))
    assert form == 2
    assert struct.unpack_from(">I", content, 4) == (1,)
    plane.received, plane.lost = 1300, 1
    plane.waiting = [Sample("ext0", 60, 100, FRAME), Sample("ext0", 60, 100, FRAME)]
    sender.turn()
    assert flows(collector) == [(1, 1, 100, 300, 1, 1, 0), (2, 1, 100, 300, 1, 1, 0)]
    said = json.loads(sender._status_path.read_text())
    assert (said["agent"], said["sampling"]) == ("127.0.0.1", 100)
    assert sender.status() | {"pid": 0} == said | {"pid": 0, "samples": 2, "lost": 1, "datagrams": 2}


def test_a_sample_has_the_route_that_its_packet_matched(
    sender: Sender, plane: Plane, collector: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Routes:
        def router(self, frame: bytes) -> sflow.Router | None:
            return sflow.Router(bytes([198, 18, 2, 2]), 24, 19) if frame == FRAME else None

        def close(self) -> None:
            pass

    monkeypatch.setattr(sender, "_matcher", Routes())
    sender.turn()
    collector.recv(2000)
    plane.waiting = [Sample("ext0", 60, 100, FRAME), Sample("ext0", 60, 100, FRAME[:30])]
    sender.turn()
    (_, known), (_, unknown) = samples(collector.recv(2000))
    assert [struct.unpack_from(">I", content, 28) for content in (known, unknown)] == [(2,), (1,)]
    assert struct.unpack(">IIIIII", known[-24:]) == (1002, 16, 1, 0xC6120202, 24, 19)


def test_another_load_of_the_data_plane(sender: Sender, plane: Plane, collector: socket.socket) -> None:
    """Its counters begin anew; those that were sent go on."""
    sender.turn()
    collector.recv(2000)
    plane.received = 500
    plane.loaded, plane.number = False, 2
    sender.turn()
    plane.loaded, plane.received = True, 20
    sender.turn()
    plane.received, plane.waiting = 70, [Sample("ext0", 60, 100, FRAME)]
    sender.turn()
    assert flows(collector) == [(1, 1, 100, 50, 0, 1, 0)]


def test_nobody_listens(sender: Sender, plane: Plane, collector: socket.socket) -> None:
    """The refusal comes with the next datagram; the sender goes on."""
    collector.close()
    for _ in range(4):
        plane.waiting = [Sample("ext0", 60, 100, FRAME)]
        sender.turn()
    assert sender.counts.datagrams == 5
    assert sum(sender.counts.errors.values()) >= 1


def test_sampling_ends_with_the_sender(sender: Sender, plane: Plane) -> None:
    sender.turn()
    sender.close()
    assert plane.rate == 0
    plane.rate = 5
    sampler.switch_off(plane)  # type: ignore[arg-type]
    assert plane.rate == 0
    plane.loaded = False
    sampler.switch_off(plane)  # type: ignore[arg-type]


def test_a_data_plane_without_samples() -> None:
    with raises(Mismatch, "node.no-sampling"):
        sampler.switch_off(object())  # type: ignore[arg-type]


def test_agent() -> None:
    both = ("10.20.0.5", "2001:db8::5")
    assert sampler.agent(SflowConfig("10.20.0.9", 6343, 1, 1), both) == "10.20.0.5"
    assert sampler.agent(SflowConfig("2001:db8::9", 6343, 1, 1), both) == "2001:db8::5"
    with raises(Mismatch, "node.sflow-address"):
        sampler.agent(SflowConfig("2001:db8::9", 6343, 1, 1), both[:1])
