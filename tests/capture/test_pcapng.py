"""What is written as pcapng is what rbops and other programs read."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from rbops.capture.pcapng import PcapngWriter
from rbops.capture.records import records

_FRAME = bytes(range(14)) + b"\x08\x00" + bytes(50)


def test_what_is_written_is_read_again() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, "test", snaplen=60)
    assert [writer.interface("n0:int1", "a cable"), writer.interface("n0:ext0")] == [0, 1]
    writer.packet(1, 1_700_000_000_123_456_789, _FRAME[:61], direction="in")
    writer.packet(0, 1_700_000_001_000_000_001, _FRAME[:33], length=1514, direction="out", comment="a duplicate")
    writer.statistics(0, 1_700_000_002_000_000_000, 7, 5)
    found = list(records(file.getvalue()))
    assert [(one.captured, one.length, one.time) for one in found] == [
        (60, 61, 1_700_000_000_123_456_789),
        (33, 1514, 1_700_000_001_000_000_001),
    ]
    assert file.getvalue()[found[1].begin :][:33] == _FRAME[:33]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_interface_and_direction(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, "test")
        numbers = [writer.interface("n0:int1"), writer.interface("t0:ext0")]
        writer.packet(numbers[0], 1_700_000_000_123_456_789, _FRAME, direction="out", comment="one")
        writer.packet(numbers[1], 1_700_000_000_123_456_790, _FRAME, direction="in")
        writer.statistics(numbers[1], 1_700_000_000_123_456_791, 1, 0)
    fields = ("frame.interface_name", "frame.packet_flags_direction", "frame.len", "frame.comment", "frame.time_epoch")
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["n0:int1", "0x00000002", "66", "one", "1700000000.123456789"],
        ["t0:ext0", "0x00000001", "66", "", "1700000000.123456790"],
    ]
