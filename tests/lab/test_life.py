"""Labs come and go: side by side, interrupted, killed; nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbops.errors import CheckFailed, Locked, Mismatch, UsageError
from rbops.lab import base
from rbops.lab.model import Lab
from rbops.lab.providers import load, provider
from tests.lab.plans import mesh
from tests.lab.traces import nspawn_locks, subnet_of, traces
from tests.support.errors import raises

pytestmark = pytest.mark.lab

_UP = """
import sys
from rbops.cli.app import main
import rbops.planner
from tests.lab.plans import mesh
rbops.planner.load_plan = lambda path: mesh(2, name="rbt-life")
sys.argv = ["rbops", "lab", "up", "spec.yml"]
main()
"""


@pytest.fixture(autouse=True)
def _nothing_before_or_after() -> Iterator[None]:
    provider().down("rbt-life")
    yield
    subnet = subnet_of("rbt-life") if Path("/var/lib/rbops/labs/rbt-life/lab.json").exists() else None
    provider().down("rbt-life")
    assert subnet is None, "the test left its lab"


@contextmanager
def _up_in_a_process(until: str) -> Iterator[subprocess.Popen[str]]:
    """`rbops lab up` in a process of its own that has begun the step ``until``."""
    base.ensure(lambda _step, /: None, "bookworm")
    with subprocess.Popen(
        [sys.executable, "-c", _UP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(until):
                break
        else:
            pytest.fail(f"never came to {until!r}: {''.join(said)}")
        try:
            yield process
        finally:
            process.kill()


def test_nothing_stays_of_a_lab_that_was_up() -> None:
    with _kept("rbt-life") as lab:
        subnet = lab.manifest.subnet
        # The search finds something while there is something.
        kinds = {line.split()[0] for line in traces(lab.name, subnet)}
        assert kinds == {"netns", "link", "mount", "process", "cgroup", "nspawn", "file"}
        with subprocess.Popen(lab.command("t0", ["timeout", "20", "sleep", "600"])) as sleeper:
            assert lab.down() is True
            assert sleeper.wait(timeout=5) == -signal.SIGKILL
    assert traces("rbt-life", subnet) == []
    assert lab.down() is False
    with raises(Mismatch, "lab.unknown"):
        load("rbt-life")


@contextmanager
def _kept(name: str) -> Iterator[Lab]:
    lab = provider().up(mesh(2), name)
    try:
        yield lab
    finally:
        lab.down()


def test_two_labs_side_by_side(lab: Lab) -> None:
    with _kept("rbt-life") as other:
        assert other.manifest.subnet != lab.manifest.subnet
        assert other.manifest.server("n0").address != lab.manifest.server("n0").address
        for one in (lab, other):
            for server in one.servers:
                subprocess.run(one.command(server.name, ["true"]), check=True)
        # Services of one are out of reach of the other, though both have the same names.
        subprocess.run(other.command("n0", ["systemctl", "kill", "--signal=KILL", "dbus.service"]), check=True)
        subprocess.run(lab.command("n0", ["systemctl", "is-active", "--quiet", "dbus.service"]), check=True)
        subnet = other.manifest.subnet
    assert traces("rbt-life", subnet) == []
    assert lab.status().state == "up"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["cable", "boot"])
def test_an_interrupted_up_removes_what_it_had_built(number: signal.Signals, step: str) -> None:
    with _up_in_a_process(step) as process:
        subnet = subnet_of("rbt-life")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 1, stderr
    assert stdout == ""
    assert "remove what was built" in stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert traces("rbt-life", subnet) == []


@pytest.mark.parametrize("step", ["cable", "make keys", "boot"])
def test_a_killed_up_is_removed_by_down(step: str) -> None:
    with _up_in_a_process(step) as process:
        subnet = subnet_of("rbt-life")
        process.kill()
        process.wait()
    assert traces("rbt-life", subnet) != []
    with raises(UsageError, "lab.incomplete"):
        provider().up(mesh(2), "rbt-life")
    with raises(Mismatch, "lab.not-up"):
        load("rbt-life")
    assert provider().down("rbt-life") is True
    assert traces("rbt-life", subnet) == []


def test_a_lab_whose_processes_were_killed_is_removed() -> None:
    with _kept("rbt-life") as lab:
        subnet = lab.manifest.subnet
        locks = nspawn_locks(lab.name)
        assert [path.exists() for path in locks] == [True, True]
        for line in traces(lab.name, subnet):
            kind, pid, *_command = line.split()
            if kind == "process":
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:  # it went with one that was killed before it
                    continue
        _until_off(lab)
        assert lab.down() is True
    assert traces("rbt-life", subnet) == []
    assert [path.exists() for path in locks] == [False, False]


def _until_off(lab: Lab) -> None:
    deadline = time.monotonic() + 10
    while any(server.pid or server.running for server in lab.status().servers):
        assert time.monotonic() < deadline, lab.status()
        time.sleep(0.05)


def test_a_lab_that_is_being_built_is_locked() -> None:
    with _up_in_a_process("boot"):
        for change in (lambda: provider().down("rbt-life"), lambda: provider().up(mesh(2), "rbt-life")):
            with raises(Locked, "lab.locked"):
                change()
    provider().down("rbt-life")


def test_a_failing_boot_is_reported_and_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A systemd-nspawn that ends at once, with its last words in the message."""
    fake = tmp_path / "systemd-nspawn"
    fake.write_text("#!/bin/sh\necho no boot today >&2\nexit 1\n", encoding="ascii")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    subnets: list[int] = []
    with raises(CheckFailed, "lab.boot-off", server="n0") as caught:
        provider().up(mesh(2), "rbt-life", lambda step, /: subnets.extend([subnet_of("rbt-life")] * ("cable" in step)))
    assert "no boot today" in str(caught.value)
    assert len(subnets) == 1
    assert traces("rbt-life", subnets[0]) == []
