"""What a prober beside Click hears on its devices, and what it tells Click: frames on a veth, handlers noted."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rbops.dataplane.click.links import Links
from rbops.dataplane.click.probing import ClickProbing, read_probes
from rbops.node.probes import ANSWER_MAC, FRAME, PROTOCOL, probe_frame
from rbops.node.reach import Said
from rbops.node.schema.dataplane import Fabric, FabricPort
from tests.support.netns import inside

pytestmark = pytest.mark.root

FABRIC = Fabric(
    server=0, servers=4, cores=(0, 1), routing="vlb", flowlet_timeout_s=0.1, direct_quota_bps=0, probe_interval_s=0.01,
    probe_multiplier=3, owners=(0, 1, 2), next_hop={1: "int1p0", 2: "int1p0"}, intermediates=(1, 2), adjacencies=(),
    ports=(
        FabricPort("ext0", "external", 10**9, id=0),
        FabricPort("int1p0", "internal", 10**9, peer_server=1),
        FabricPort("int1p1", "internal", 10**9, peer_server=1),
    ),
)  # fmt: skip
PORT = 1
FAR = b"\x02\0\0\0\0\1"


class Told(Links):
    """Click's handlers, as a list of what was written to them."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), 1, FABRIC)
        self.lines: list[str] = []

    def dead(self) -> int:
        return 0b100

    def _write(self, handler: str, line: str) -> None:
        self.lines.append(f"{handler} {line}")


@dataclass
class Bed:
    """A prober on the near ends of two cables, and the far end of the first."""

    probing: ClickProbing
    far: socket.socket
    notes: Path
    told: Told = field(default_factory=Told)

    def comes(self, frame: bytes) -> int:
        """A frame from the far end, heard; when it was sent."""
        sent = time.monotonic_ns()
        self.far.send(frame)
        deadline = time.monotonic() + 5
        before = self.memory
        while self.memory == before and time.monotonic() < deadline:
            self.probing.answered_ns(PORT)
        return sent

    @property
    def memory(self) -> tuple[Any, ...]:
        return (self.notes.read_bytes(), self.probing.received(PORT))


@contextmanager
def sysfs(at: Path) -> Iterator[None]:
    """The devices of the network namespace that this is called in, as a server has them below /sys."""
    subprocess.run(["mount", "-t", "sysfs", "none", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    name = f"rbn-{os.getpid()}-probe"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for near, far in (("int1p0", "far0"), ("int1p1", "far1")):
            subprocess.run(["ip", "-n", name, "link", "add", near, "type", "veth", "peer", "name", far], check=True)
            for end in (near, far):
                # No router solicitations: the test alone sends.
                subprocess.run(["ip", "-n", name, "link", "set", end, "addrgenmode", "none", "up"], check=True)
        told = Told()
        devices = tmp_path / "sys"
        devices.mkdir()
        monkeypatch.setattr("rbops.dataplane.click.probing._DEVICES", devices / "class" / "net")
        with inside(name), sysfs(devices), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link:
            link.bind(("far0", 0))
            with closing(ClickProbing(FABRIC, {}, told, tmp_path / "run" / "probes")) as probing:
                yield Bed(probing, link, tmp_path / "run" / "probes", told)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def answer(sent: int, server: int = 0) -> bytes:
    return FRAME.pack(ANSWER_MAC, FAR, PROTOCOL.to_bytes(2, "big"), server, 7, 0, sent, b"")


def test_an_answer_counts_from_when_it_came(bed: Bed) -> None:
    assert bed.probing.answered_ns(PORT) == 0
    bed.far.send(answer(time.monotonic_ns()))
    came = time.monotonic_ns()
    time.sleep(0.05)  # read later than it came
    read = time.monotonic_ns()
    at = bed.probing.answered_ns(PORT)
    assert 0 < at < read - 20_000_000
    assert abs(at - came) < 20_000_000
    found = read_probes(FABRIC, bed.notes)
    assert (found["int1p0"]["answered"], found["int1p1"]["answered"]) == (1, 0)
    assert 0 < found["int1p0"]["round_trip_us"] < 20_000
    assert set(found) == {"int1p0", "int1p1"}


def test_an_answer_to_another_servers_probe_is_none(bed: Bed) -> None:
    bed.far.send(answer(time.monotonic_ns(), server=3))
    time.sleep(0.05)
    assert bed.probing.answered_ns(PORT) == 0


def test_other_packets_are_counted_and_probes_are_not(bed: Bed) -> None:
    assert bed.probing.received(PORT) == (0, 0)
    for number in range(20):
        bed.comes(probe_frame(1, FAR, number, 0, 0, None))
    assert bed.probing.received(PORT)[1] == 20
    others = bed.probing.received(PORT)[0]
    assert others <= 1, "one may be counted before it is heard"
    for _ in range(5):
        bed.far.send(b"\x02\x52\0\0\0\1" + FAR + b"\x08\x00" + bytes(50))
    time.sleep(0.05)
    bed.probing.answered_ns(PORT)
    assert bed.probing.received(PORT)[0] == 5


def test_what_a_neighbour_cannot_reach_is_told_once(bed: Bed) -> None:
    for number in range(3):
        bed.comes(probe_frame(1, FAR, number, 0, 0b101, None))
    assert bed.told.lines == ["cut 1 05"]
    assert (bed.probing.cut_of(1), bed.probing.is_cut(1)) == (0b101, True)
    bed.comes(probe_frame(1, FAR, 4, 0, 0, None))
    assert bed.told.lines == ["cut 1 05", "cut 1 00"]
    assert not bed.probing.is_cut(1)


def test_what_is_said_of_other_servers(bed: Bed) -> None:
    said = Said(3, 9, 0b10)
    bed.comes(probe_frame(1, FAR, 1, 0, 0, said))
    assert bed.probing.said(PORT) == said
    assert bed.probing.said(PORT + 1) is None
    bed.probing.set_cut(3, 0b10)
    assert bed.told.lines == ["cut 3 02"]


def test_silence_is_told_and_passed_on(bed: Bed) -> None:
    bed.probing.set_silent(1, silent=True)
    bed.probing.set_cable_silent(PORT + 1, silent=True)
    bed.probing.set_silent(3, silent=True)
    assert bed.told.lines == ["answers 1 false", "cable_answers 1 false"], "no cable leads to server 3"
    # Server 2's link has no carrier, says Click.
    assert bed.probing.cut() & 0b110 == 0b110
    frame = bed.probing.frame(FAR, 1, 2)
    assert FRAME.unpack_from(frame)[7][0] & 0b110 == 0b110
    bed.probing.set_silent(1, silent=False)
    assert bed.probing.cut() & 0b010 == 0


def test_notes_outlive_the_prober(bed: Bed) -> None:
    bed.probing.note(PORT, 10, 2, 1, 2)
    again = ClickProbing(FABRIC, {}, bed.told, bed.notes)
    again.close()
    assert again.noted(PORT) == (10, 2, 1, 2)
    assert read_probes(FABRIC, bed.notes)["int1p0"]["state"] == "dead"
    assert read_probes(FABRIC, bed.notes.with_name("none")) == {}
