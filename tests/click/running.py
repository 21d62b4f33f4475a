"""A Click that plays recorded frames: pcap files in and out."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from rbops.dataplane.click.controller.build import Click

_HEAD = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")


def write_pcap(path: Path, frames: list[tuple[int, bytes]]) -> None:
    """``frames``: (ms, Ethernet frame)."""
    with path.open("wb") as file:
        file.write(_HEAD.pack(0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for ms, frame in frames:
            file.write(_RECORD.pack(ms // 1000, ms % 1000 * 1000, len(frame), len(frame)) + frame)


def read_pcap(path: Path) -> list[bytes]:
    """The frames in a file that ToDump wrote."""
    data = path.read_bytes()
    assert len(data) >= _HEAD.size, f"{path.name} is cut"
    at, frames = _HEAD.size, []
    while at < len(data):
        _, _, kept, size = _RECORD.unpack_from(data, at)
        assert kept == size
        at += _RECORD.size
        frames.append(data[at : at + kept])
        at += kept
    return frames


def run(click: Click, package: Path, text: str, folder: Path, *handlers: str) -> subprocess.CompletedProcess[str]:
    """Click with a configuration, until it ends; what the read handlers say then is on stdout."""
    (folder / "router.click").write_text(text)
    command = [str(click.program), *(word for handler in handlers for word in ("-h", handler)), "router.click"]
    environment = {**os.environ, "CLICKPATH": f"{package}:"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def handlers_of(stdout: str) -> dict[str, str]:
    """Handler -> text, of a run with several."""
    found = {}
    for part in stdout.split("\n\n"):
        name, _, text = f"{part}\n".partition(":\n")
        found[name] = text
    return found
