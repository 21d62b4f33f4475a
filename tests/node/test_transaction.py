"""Commit-confirmed without a kernel: what is on the disk, and who may do what."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rbops.dataplane.base import Plane
from rbops.errors import CheckFailed, Locked, Mismatch, StateUnknown
from rbops.node import lock, state, transaction
from rbops.node.__main__ import run
from rbops.node.clock import uptime
from rbops.node.commands import Node
from rbops.node.installed import Installed
from rbops.node.state import State, write_whole
from rbops.node.system import Done
from rbops.node.timer import SystemdTimer
from rbops.node.transaction import Transaction
from tests.node.recorded import Recorded
from tests.support.errors import raises


@dataclass
class FakeTimer:
    """Remembers; ``broken`` cannot be armed."""

    broken: bool = False
    running: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def arm(self, seconds: int, command: tuple[str, ...]) -> None:
        if self.broken:
            raise Mismatch("no timer", code="test.timer")
        self.running = [(seconds, command)]

    def disarm(self) -> None:
        self.running = []

    def armed(self) -> bool:
        return bool(self.running)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    path = tmp_path / "etc"
    (path / "xdp").mkdir(parents=True)
    (path / "node.json").write_text("old")
    (path / "key").write_text("secret")
    (path / "key").chmod(0o600)
    (path / "xdp" / "link").symlink_to("/etc/passwd")
    return path


@pytest.fixture
def change(tmp_path: Path, etc: Path) -> Transaction:
    return Transaction(State(tmp_path / "state"), etc, FakeTimer())


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        text = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""  # noqa: PTH115
        found[str(path.relative_to(folder))] = (text, stat.S_IMODE(path.lstat().st_mode))
    return found


def no_plane(*_: object) -> Plane:
    raise AssertionError


def fail(text: str) -> Callable[[], None]:
    def raising() -> None:
        raise CheckFailed(text, code="test.call")

    return raising


def test_a_long_apply_does_not_let_its_own_timer_run_out(change: Transaction, etc: Path) -> None:
    timer = change.timer
    assert isinstance(timer, FakeTimer)
    node = Node(Recorded(), change.state, etc / "node.json", timer, no_plane)
    node.begin("ann", "r1", 60)
    saved = contents(change.state.snapshot)
    timer.running = []
    with change.state.exclusive():
        node.begin("ann", "r1", 90)
        assert timer.running[0][0] == 90
    assert contents(change.state.snapshot) == saved


def test_begin_change_revert(change: Transaction, etc: Path) -> None:
    before = contents(etc)
    change.begin("ann", "r1", 60)
    assert change.timer.armed()
    assert contents(etc) == before
    (etc / "node.json").write_text("new")
    (etc / "added").write_text("x")
    (etc / "key").unlink()
    called: list[str] = []
    assert change.revert("r1", lambda: called.append((etc / "node.json").read_text()), fail("not this"))
    assert called == ["old"], "the files are back before the kernel is made equal to them"
    assert contents(etc) == before
    assert not change.timer.armed()
    assert change.status() is None
    assert [path.name for path in etc.parent.iterdir() if path.name.startswith(".etc")] == []


def test_first_time(change: Transaction, etc: Path) -> None:
    for path in (etc / "node.json", etc / "key", etc / "xdp" / "link"):
        path.unlink()
    (etc / "xdp").rmdir()
    etc.rmdir()
    change.begin("ann", "r1", 60)
    etc.mkdir()
    (etc / "node.json").write_text("new")
    called: list[str] = []
    assert change.revert("r1", fail("not this"), lambda: called.append((etc / "node.json").read_text()))
    assert called == ["new"], "what was loaded is still known while it is taken away"
    assert not etc.exists()


def test_second_run_is_kept_out(change: Transaction) -> None:
    change.begin("ann@ops", "r1", 60)
    for forbidden in (
        lambda: change.begin("bob", "r2", 60),
        lambda: change.confirm("r2"),
        lambda: change.revert("r2", fail("no"), fail("no")),
        lambda: lock.lock(change.state, "bob", "r2", takeover=True),
    ):
        with pytest.raises(Locked) as caught:
            forbidden()
        assert "r1" in str(caught.value)
    with raises(Locked, "node.change-open"):
        change.begin("bob", "r2", 60)
    status = change.status()
    assert status is not None
    assert (status["run"], status["holder"], status["timer_armed"]) == ("r1", "ann@ops", True)
    assert 55 <= status["left_s"] <= 60


def test_same_run_winds_the_timer_up(change: Transaction, etc: Path) -> None:
    change.begin("ann", "r1", 60)
    (etc / "node.json").write_text("new")
    change.begin("ann", "r1", 90)
    assert isinstance(change.timer, FakeTimer)
    assert [seconds for seconds, _ in change.timer.running] == [90]
    assert change.revert("r1", lambda: None, fail("no"))
    assert (etc / "node.json").read_text() == "old", "the snapshot is that of the first begin"


def test_timer_that_cannot_be_armed(tmp_path: Path, etc: Path) -> None:
    before = contents(etc)
    change = Transaction(State(tmp_path / "state"), etc, FakeTimer(broken=True))
    with pytest.raises(Mismatch):
        change.begin("ann", "r1", 60)
    assert contents(etc) == before
    assert change.manifest() is None
    assert not (tmp_path / "state").exists()


def test_disk_full(change: Transaction, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transaction, "copy_tree", full)
    with raises(Mismatch, "node.snapshot"):
        change.begin("ann", "r1", 60)
    assert change.manifest() is None
    assert not change.timer.armed()
    assert (etc / "node.json").read_text() == "old"


def test_revert_that_fails_names_the_backup(change: Transaction) -> None:
    change.begin("ann", "r1", 60)
    with pytest.raises(StateUnknown) as caught:
        change.revert("r1", fail("no such device"), fail("no"))
    assert "no such device" in str(caught.value)
    assert str(change.state.snapshot) in str(caught.value.hint)
    assert change.revert("r1", lambda: None, fail("no")), "it can be tried again"


def test_confirm(change: Transaction, etc: Path) -> None:
    change.begin("ann", "r1", 60)
    (etc / "node.json").write_text("new")
    change.confirm("r1")
    assert not change.timer.armed()
    assert (etc / "node.json").read_text() == "new"
    assert not change.revert(None, fail("no"), fail("no"))
    with raises(CheckFailed, "node.no-change"):
        change.confirm("r2")


def test_confirm_can_be_repeated_whose_answer_was_lost(change: Transaction) -> None:
    change.begin("ann", "r1", 60)
    assert [change.confirm("r1", lambda: None), change.confirm("r1", fail("not again"))] == ["ann", "ann"]
    change.begin("bob", "r2", 60)
    with raises(Locked, "node.other-run"):
        change.confirm("r1")


def test_a_reverted_run_cannot_be_confirmed(change: Transaction) -> None:
    change.begin("ann", "r1", 60)
    change.revert("r1", lambda: None, fail("no"))
    with raises(CheckFailed, "node.no-change"):
        change.confirm("r1")


def test_reboot_before_confirmation(change: Transaction, etc: Path) -> None:
    change.begin("ann", "r1", 60)
    (etc / "node.json").write_text("new")
    assert change.restore_files()
    assert (etc / "node.json").read_text() == "old"
    assert change.manifest() is not None, "a second reboot in between finds the snapshot still there"
    change.finish_boot()
    assert not change.restore_files()


def test_cut_in_the_middle_of_putting_back(change: Transaction, etc: Path) -> None:
    """Power is lost between the two renames: the next try still ends well."""
    change.begin("ann", "r1", 60)
    (etc / "node.json").write_text("new")
    etc.rename(etc.with_name(".etc.discarded"))
    assert change.restore_files()
    assert (etc / "node.json").read_text() == "old"


def test_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_damaged_state_is_said(change: Transaction) -> None:
    change.state.snapshot.mkdir(parents=True)
    (change.state.snapshot / "manifest.json").write_text("{")
    with raises(StateUnknown, "node.state-unreadable"):
        change.begin("ann", "r1", 60)


def test_lock(tmp_path: Path) -> None:
    place = State(tmp_path)
    lock.lock(place, "ann", "r1", takeover=False)
    lock.lock(place, "ann", "r1", takeover=False)
    record = json.loads(place.lock.read_text())
    place.lock.write_text(json.dumps({**record, "since": uptime() - 100}))
    assert (lock.held(place) or {})["age_s"] in range(100, 105)
    with raises(Locked, "node.locked"):
        lock.lock(place, "bob", "r2", takeover=False)
    with pytest.raises(Locked):
        lock.unlock(place, "r2")
    with pytest.raises(Locked):
        Transaction(place, tmp_path / "etc", FakeTimer()).begin("bob", "r2", 60)
    lock.lock(place, "bob", "r2", takeover=True)
    assert (lock.held(place) or {})["holder"] == "bob"
    assert lock.unlock(place, "r2")
    assert not lock.unlock(place, "r2")


def test_a_lock_from_before_the_last_boot_is_free_unless_its_change_is_open(tmp_path: Path) -> None:
    place = State(tmp_path)
    lock.lock(place, "ann", "r1", takeover=False)
    record = json.loads(place.lock.read_text())
    place.lock.write_text(json.dumps({**record, "since": 1e9, "boot": "another"}))
    place.snapshot.mkdir()
    (place.snapshot / "manifest.json").write_text(json.dumps({"run": "r1"}))
    with raises(Locked, "node.locked"):
        lock.lock(place, "bob", "r2", takeover=False)
    assert (lock.held(place) or {})["age_s"] <= uptime()
    lock.sweep(place)
    assert place.lock.exists()
    (place.snapshot / "manifest.json").unlink()
    assert lock.held(place) is None
    lock.sweep(place)
    assert not place.lock.exists()
    lock.lock(place, "bob", "r2", takeover=False)
    lock.sweep(place)
    assert (lock.held(place) or {})["run"] == "r2"


def test_one_program_at_a_time(tmp_path: Path) -> None:
    place = State(tmp_path)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with place.exclusive():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        with raises(Locked, "node.busy"), place.exclusive(wait_s=0.2):
            pass
    finally:
        done.set()
        thread.join()
    with place.exclusive(wait_s=0.2):
        pass


def test_systemd_timer() -> None:
    system = Recorded()
    what = "rbops: unless the change is confirmed in 300 s: /usr/bin/python3 x revert"
    arm = "systemd-run --unit=rbops-revert --on-active=300s --timer-property=AccuracySec=1s --collect --quiet "
    run = f"{arm}--description={what} /usr/bin/python3 x revert"
    timer = SystemdTimer(system)
    with raises(Mismatch, "node.timer"):
        timer.arm(300, ("/usr/bin/python3", "x", "revert"))
    system.answers[run] = ""
    with raises(Mismatch, "node.timer"):
        timer.arm(300, ("/usr/bin/python3", "x", "revert"))
    system.answers["systemctl is-active --quiet rbops-revert.timer"] = Done(0, "", "")
    timer.arm(300, ("/usr/bin/python3", "x", "revert"))
    assert [line for line, _ in system.ran][-4:] == [
        "systemctl stop rbops-revert.timer",
        "systemctl reset-failed rbops-revert.timer rbops-revert.service",
        run,
        "systemctl is-active --quiet rbops-revert.timer",
    ]


def test_a_timer_that_is_armed_again_is_never_stopped() -> None:
    """systemd starts it anew in one step; one that would do something else is replaced."""
    what = "rbops: unless the change is confirmed in 300 s: /usr/bin/python3 x revert"
    answers: dict[str, str | Done] = {
        "systemctl show --property=Description --value rbops-revert.timer": f"{what}\n",
        "systemctl restart rbops-revert.timer": "",
        "systemctl is-active --quiet rbops-revert.timer": "",
    }
    system = Recorded(answers)
    SystemdTimer(system).arm(300, ("/usr/bin/python3", "x", "revert"))
    assert [line for line, _ in system.ran] == list(answers)
    system = Recorded(answers)
    with raises(Mismatch, "node.timer"):
        SystemdTimer(system).arm(200, ("/usr/bin/python3", "x", "revert"))
    assert "systemctl stop rbops-revert.timer" in [line for line, _ in system.ran]


def test_timer_runs_the_program_of_before(change: Transaction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push may replace the program by a broken one: the way back is a copy in the snapshot."""
    program = tmp_path / "rbops-node"
    program.write_text("the old one")
    monkeypatch.setattr(transaction.sys, "argv", [str(program), "begin"])
    change.begin("ann", "r1", 60)
    program.write_text("broken")
    assert isinstance(change.timer, FakeTimer)
    ((_, command),) = change.timer.running
    assert Path(command[1]).read_text() == "the old one"
    assert command[2:] == ("revert", "--run", "r1", "--unlock")


UNIT = "etc/systemd/system/rbops-click.service"
LINK = "var/lib/rbops/click/rbops.uo"


@pytest.fixture
def with_click(tmp_path: Path, etc: Path) -> tuple[Transaction, Path]:
    """A server whose Click runs by a unit and a compiled element package."""
    root = tmp_path / "root"
    for name in (UNIT, "usr/sbin/rbops-node"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("old")
    (root / LINK).parent.mkdir(parents=True)
    (root / LINK).symlink_to("packages/old/rbops.uo")
    installed = Installed(Recorded(), root)
    return Transaction(State(tmp_path / "state"), etc, FakeTimer(), installed=installed), root


def test_what_click_is_started_by_is_back_before_it_is_started(with_click: tuple[Transaction, Path]) -> None:
    change, root = with_click
    change.begin("ann", "r1", 60)
    (root / UNIT).write_text("new")
    (root / "usr/sbin/rbops-node").write_text("new")
    (root / LINK).unlink()
    (root / LINK).symlink_to("packages/new/rbops.uo")
    (root / "opt").mkdir()
    (root / "opt/rbops-click").symlink_to("/var/lib/rbops/click/archives/new")
    seen: list[str] = []

    def reapply() -> None:
        names = (UNIT, "usr/sbin/rbops-node")
        seen.extend((root / name).read_text() for name in names)
        seen.append(str((root / LINK).readlink()))
        seen.append(str((root / "opt/rbops-click").readlink()))

    assert change.revert("r1", reapply, fail("not this"))
    assert seen == ["old", "new", "packages/old/rbops.uo", "/var/lib/rbops/click/archives/new"]
    assert (root / "usr/sbin/rbops-node").read_text() == "old"
    assert not (root / "opt/rbops-click").is_symlink()


def test_after_a_reboot_too(with_click: tuple[Transaction, Path]) -> None:
    change, root = with_click
    change.begin("ann", "r1", 60)
    (root / UNIT).write_text("new")
    assert change.restore_files()
    assert (root / UNIT).read_text() == "old"


def test_a_click_that_was_not_there_keeps_its_unit_until_it_is_stopped(with_click: tuple[Transaction, Path]) -> None:
    change, root = with_click
    (root / UNIT).unlink()
    change.begin("ann", "r1", 60)
    (root / UNIT).write_text("new")
    seen: list[str] = []
    assert change.revert("r1", lambda: seen.append((root / UNIT).read_text()), fail("not this"))
    assert seen == ["new"]
    assert not (root / UNIT).exists()


def test_the_timers_revert_gives_the_server_back(change: Transaction, etc: Path) -> None:
    node = Node(Recorded(), change.state, etc / "node.json", change.timer, no_plane)
    lock.lock(change.state, "ann", "r1", takeover=False)
    assert run(["revert", "--run", "r1", "--json"], node) == 0
    assert (lock.held(change.state) or {})["run"] == "r1", "a controller gives it back itself"
    assert run(["revert", "--run", "r2", "--unlock", "--json"], node) == 0
    assert (lock.held(change.state) or {})["run"] == "r1", "somebody else's"
    assert run(["revert", "--run", "r1", "--unlock", "--json"], node) == 0
    assert lock.held(change.state) is None


def test_a_full_disk_is_told_without_a_traceback(
    change: Transaction, etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/var/lib/rbops/lock.json")

    monkeypatch.setattr(lock, "write_whole", full)
    node = Node(Recorded(), change.state, etc / "node.json", change.timer, no_plane)
    assert run(["lock", "--run", "r1", "--json"], node) == CheckFailed.exit_code
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["message"]) == ("node.disk", "cannot write: No space left on device")
