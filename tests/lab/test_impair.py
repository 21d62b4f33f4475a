"""Bad cables: what a capture behind them has is what they say that they did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from rbops.capture.records import records
from rbops.errors import UsageError
from rbops.lab.cables.impair import Impairment
from rbops.lab.model import Lab
from rbops.selftest.reordering import measure
from tests.lab.test_cables import outermost, rbops, until, verb
from tests.support.errors import raises

_COUNT = 4000
_SEND = """
import os, socket, time
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})  # what waits is released by CPU
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("ext0", 0x88b5))
for number in range({count}):
    sock.send(bytes.fromhex("020000000001020000000002" "88b5") + number.to_bytes(4, "big") + bytes(42))
    if number % 16 == 15:
        time.sleep(0.001)
"""


@pytest.mark.parametrize("values", [{}, {"loss": 1.5}, {"loss": -0.1}, {"delay_s": 11.0}, {"hold_s": 1.0}], ids=str)
def test_what_no_cable_does_is_refused(values: dict[str, float]) -> None:
    with raises(UsageError, "lab.impairment"):
        Impairment(**values)


def _through(lab: Lab, folder: Path, *options: str) -> tuple[list[bytes], dict[str, object]]:
    """Frames as they came out of a bad cable, without their Ethernet header, and what the cable says."""
    subprocess.run(lab.command("n0", ["ip", "link", "set", "ext0", "up"]), check=True)
    path = folder / "x.pcapng"
    with ExitStack() as stack:
        # The later tap is the first that a frame meets.
        capture = stack.enter_context(verb("capture", lab.name, "n0:ext0", "-w", str(path)))
        bad = stack.enter_context(
            verb("impair", lab.name, "n0:ext0", "--direction", "in", "--format", "json", *options)
        )
        subprocess.run(lab.command("t0", [sys.executable, "-c", _SEND.format(count=_COUNT)]), check=True)
        subprocess.run(["sleep", "0.5"], check=True)
        bad.send_signal(signal.SIGINT)
        out, _ = bad.communicate(timeout=20)
        capture.send_signal(signal.SIGINT)
        assert capture.wait(timeout=20) == 0
    data = path.read_bytes()
    frames = [data[one.begin + 14 : one.begin + one.captured] for one in records(data)]
    return frames, json.loads(out)["ports"][0]


@pytest.mark.lab
def test_the_part_that_is_lost_is_exact(lab: Lab, tmp_path: Path) -> None:
    frames, said = _through(lab, tmp_path, "--loss", "1%")
    assert (said["end"], said["direction"], said["frames"], said["overrun"]) == ("n0:ext0", "in", _COUNT, 0)
    assert len(frames) + int(str(said["lost"])) == _COUNT
    assert abs(_COUNT - len(frames) - _COUNT / 100) <= 2  # one for each CPU
    assert len(set(frames)) == len(frames)


@pytest.mark.lab
def test_frames_are_doubled_and_changed(lab: Lab, tmp_path: Path) -> None:
    frames, said = _through(lab, tmp_path, "--duplicate", "2%", "--corrupt", "1%")
    assert len(frames) == _COUNT + int(str(said["duplicated"]))
    assert abs(len(frames) - 1.02 * _COUNT) <= 2
    changed = [frame for frame in set(frames) if frame[4:] != bytes(42) or int.from_bytes(frame[:4], "big") >= _COUNT]
    assert 0 < len(changed) <= int(str(said["corrupted"])) <= _COUNT / 100 + 2


@pytest.mark.lab
def test_what_waits_comes_in_order_but_for_what_is_held_back(lab: Lab, tmp_path: Path) -> None:
    frames, said = _through(lab, tmp_path, "--delay", "2ms", "--jitter", "1ms")
    assert [int.from_bytes(frame[:4], "big") for frame in frames] == list(range(_COUNT))
    waited = said["delay_s"]
    assert isinstance(waited, list)
    assert min(waited) >= 0.002

    frames, said = _through(lab, tmp_path, "--reorder", "1%", "--hold", "5ms")
    numbers = [int.from_bytes(frame[:4], "big") for frame in frames]
    assert sorted(numbers) == list(range(_COUNT))
    assert 0 < measure(numbers).late <= int(str(said["reordered"])) <= _COUNT / 100 + 2


@pytest.mark.lab
def test_a_bad_cable_is_as_new_when_the_verb_is_killed(lab: Lab) -> None:
    with verb("impair", lab.name, "n0:int1", "--delay", "2ms") as process:
        assert outermost(lab, "n0:int1") != 0
        process.kill()
        process.wait()
        until(lambda: [outermost(lab, name) for name in ("n0:int1", "n1:int0")] == [0, 0])


@pytest.mark.parametrize("text", ["1", "x%", "-1%", "1e3%"])
def test_a_percentage_has_its_sign(text: str) -> None:
    done = rbops("impair", "no-lab", "n0:int1", f"--loss={text}")
    assert (done.returncode, done.stderr) == (2, f"rbops: --loss: {text!r} is not a percentage\nhint: for example 1%\n")
