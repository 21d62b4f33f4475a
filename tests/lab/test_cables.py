"""Cables of a running lab: cut and plugged, servers killed and restarted, by the verbs a user types."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbops.capture.records import records
from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.libbpf import Object, Program, xdp_attach, xdp_attached, xdp_detach, xdp_outermost
from rbops.errors import Mismatch, UsageError
from rbops.lab.cables.ends import all_ends, find_ends, inside, one_end
from rbops.lab.manifest import from_plan
from rbops.lab.model import Lab
from tests.lab.plans import mesh, systems
from tests.support.errors import raises


def test_every_end_knows_the_other_one() -> None:
    plan = mesh(3)
    ends = all_ends(from_plan(plan, "x", 7, systems(plan), "nspawn"))
    assert len(ends) == 2 * (3 + 3)
    assert all(ends[ends[end.peer].peer] is end for end in ends.values())
    assert (ends["t1:ext1"].peer, ends["t1:ext1"].tester, ends["n1:ext1"].tester) == ("n1:ext1", True, False)


def test_ends_are_found_by_node_and_by_port() -> None:
    plan = mesh(2)
    manifest = from_plan(plan, "x", 7, systems(plan), "nspawn")
    assert [end.name for end in find_ends(manifest, ["n0:int1", "n0", "t1"])] == ["n0:int1", "n0:ext0", "t1:ext1"]
    with raises(Mismatch, "lab.no-target"):
        find_ends(manifest, ["n7:int0"])
    with raises(Mismatch, "lab.no-port"):
        find_ends(manifest, ["n0:int7"])
    with raises(UsageError, "lab.end"):
        one_end(manifest, "n0")


def rbops(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from rbops.cli import main; main()", "lab", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _flags(lab: Lab, node: str, device: str) -> str:
    args = lab.command(node, ["ip", "-json", "link", "show", device])
    found = subprocess.run(args, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return " ".join(sorted(set(json.loads(found.stdout)[0]["flags"]) & {"UP", "LOWER_UP", "NO-CARRIER"}))


@pytest.mark.lab
def test_a_cable_is_cut_and_plugged(lab: Lab) -> None:
    for node, device in (("n0", "int1"), ("n1", "int0"), ("n0", "ext0")):
        subprocess.run(lab.command(node, ["ip", "link", "set", device, "up"]), check=True)
    done = rbops("cut", lab.name, "n0:int1", "n0:ext0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "n0:int1 is without carrier, n1:int0 is down",
        "n0:ext0 is without carrier, t0:ext0 is down",
    ]
    assert _flags(lab, "n0", "int1") == "NO-CARRIER UP"
    assert _flags(lab, "n0", "ext0") == "NO-CARRIER UP"
    assert _flags(lab, "n1", "int0") == ""
    assert {cable.a: cable.state for cable in lab.status().cables} == {
        "n0:ext0": "down",
        "n0:int1": "down",
        "n1:ext1": "down",
    }
    assert rbops("cut", lab.name, "n0:int1").returncode == 0
    done = rbops("plug", lab.name, "n1:int0", "n0:ext0")
    assert done.returncode == 0, done.stderr
    assert _flags(lab, "n0", "int1") == _flags(lab, "n1", "int0") == _flags(lab, "n0", "ext0") == "LOWER_UP UP"
    route = subprocess.run(lab.command("t0", ["ip", "route"]), stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "default via 198.18.0.1 dev ext0" in route


@pytest.mark.lab
def test_nothing_is_cut_when_one_name_is_wrong(lab: Lab) -> None:
    subprocess.run(lab.command("n0", ["ip", "link", "set", "ext0", "up"]), check=True)
    done = rbops("cut", lab.name, "n0:ext0", "n0:int9")
    assert (done.returncode, done.stderr) == (3, "rbops: n0 has no port int9\nhint: its ports: ext0, int1\n")
    assert _flags(lab, "n0", "ext0") == "LOWER_UP UP"
    assert rbops("cut", lab.name, "n0").returncode == 2


@pytest.mark.lab
def test_a_server_is_killed_and_restarted(lab: Lab) -> None:
    assert rbops("kill", lab.name, "n1").returncode == 0
    assert [server.running for server in lab.status().servers] == [True, False]
    done = rbops("cut", lab.name, "n0:int1")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "rbops: n1:int0 is not plugged in: n1 is off")
    assert rbops("kill", lab.name, "n1").returncode == 0
    done = rbops("restart", lab.name, "n1")
    assert done.returncode == 0, done.stderr
    assert lab.status().state == "up"
    assert rbops("kill", lab.name, "n7").returncode == 3


_REFLECT = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int reflect(struct xdp_md *ctx) { (void)ctx; return XDP_TX; }
char _license[] SEC("license") = "GPL";
"""
_SEND = """
import socket
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("ext0", 0x88b5))
for number in range({count}):
    sock.send(bytes.fromhex("020000000001020000000002" "88b5") + number.to_bytes(4, "big") + bytes(42))
"""


@pytest.fixture
def reflecting(lab: Lab, tmp_path: Path) -> Iterator[int]:
    """n0's external port sends every frame back in its driver, where no packet socket sees it; its program's id."""
    source, target = tmp_path / "reflect.bpf.c", tmp_path / "reflect.bpf.o"
    source.write_text(_REFLECT, encoding="ascii")
    compile_one(source, target)
    end = all_ends(lab.manifest)["n0:ext0"]
    subprocess.run(lab.command("n0", ["ip", "link", "set", "ext0", "up"]), check=True)
    with Object(target) as loaded, inside(end.netns):
        loaded.load()
        xdp_attach(socket.if_nametoindex("ext0"), loaded.program("reflect"))
    yield outermost(lab, "n0:ext0")
    with inside(end.netns):
        xdp_detach(socket.if_nametoindex("ext0"))


def outermost(lab: Lab, name: str) -> int:
    end = all_ends(lab.manifest)[name]
    with inside(end.netns):
        return xdp_outermost(socket.if_nametoindex(end.device))[0]


def _send(lab: Lab, count: int) -> None:
    subprocess.run(lab.command("t0", [sys.executable, "-c", _SEND.format(count=count)]), check=True)


@contextmanager
def verb(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A verb that runs until it is ended; it has said that it is at work."""
    command = [sys.executable, "-c", "from rbops.cli import main; main()", "lab", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert "Ctrl-C ends it" in line, line + process.stderr.read()
            yield process
        finally:
            process.kill()


@pytest.mark.lab
def test_a_capture_has_what_xdp_sent_back(lab: Lab, reflecting: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with verb("capture", lab.name, "n0:ext0", "-w", str(path)) as process:
        assert outermost(lab, "n0:ext0") != reflecting
        end = all_ends(lab.manifest)["n0:ext0"]
        with inside(end.netns):  # what rbops-node asks looks through the tap
            assert xdp_attached(socket.if_nametoindex("ext0")) == (reflecting, "native")
        _send(lab, 50)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.splitlines() == ["n0:ext0 in: 50 frames", "n0:ext0 out: 50 frames"]
    data = path.read_bytes()
    found = [data[one.begin + 14 : one.begin + 18] for one in records(data)]
    assert sorted(found) == sorted(number.to_bytes(4, "big") for number in range(50) for _ in range(2))
    assert [outermost(lab, name) for name in ("n0:ext0", "t0:ext0")] == [reflecting, 0]


@pytest.mark.lab
def test_a_capture_that_is_killed_leaves_nothing(lab: Lab, reflecting: int, tmp_path: Path) -> None:
    with verb("capture", lab.name, "n0", "-w", str(tmp_path / "x")) as process:
        process.kill()
        process.wait()
        until(lambda: [outermost(lab, name) for name in ("n0:ext0", "t0:ext0", "n1:int0")] == [reflecting, 0, 0])


@pytest.mark.lab
def test_captures_of_one_port_end_in_any_order(lab: Lab, reflecting: int, tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    with (
        verb("capture", lab.name, "n0:ext0", "-w", str(inner)) as first,
        verb("capture", lab.name, "t0", "-w", str(outer)) as second,
    ):
        _send(lab, 10)
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=20) == 0
        _send(lab, 10)
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=20) == 0
    assert [len(list(records(path.read_bytes()))) for path in (inner, outer)] == [20, 40]
    assert [outermost(lab, name) for name in ("n0:ext0", "t0:ext0")] == [reflecting, 0]


@pytest.mark.lab
def test_a_program_that_is_replaced_is_captured_too(lab: Lab, reflecting: int, tmp_path: Path) -> None:
    end = all_ends(lab.manifest)["n0:ext0"]
    with verb("capture", lab.name, "n0:ext0", "-w", str(tmp_path / "x"), "--count", "20") as process:
        tap = outermost(lab, "n0:ext0")
        with inside(end.netns):
            xdp_attach(socket.if_nametoindex("ext0"), Program.from_id(reflecting))
        until(lambda: outermost(lab, "n0:ext0") == tap)
        _send(lab, 30)
        assert process.wait(timeout=20) == 0
    assert outermost(lab, "n0:ext0") == reflecting


@pytest.mark.lab
def test_a_file_that_cannot_be_written_is_named(lab: Lab, tmp_path: Path) -> None:
    done = rbops("capture", lab.name, "n0", "-w", str(tmp_path / "none" / "x"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: No such file or directory" in done.stderr


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
