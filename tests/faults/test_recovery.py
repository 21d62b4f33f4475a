"""A server that boots in the middle of a change undoes it itself, also where rbops.service is not there to do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.node import recovery
from tests.deploy.serverstate import change_open, inside
from tests.faults.arena import Arena
from tests.faults.test_every_write import Server, change
from tests.system.driver import wait_for

_RUN = "20260101T000000-apply-000001"
_OPEN = ("open", "--run", _RUN, "--holder", "ann", "--timeout", "600")
_SERVER = "n1"
_LONGEST_S = 120


def test_it_is_enabled_as_long_as_a_first_change_is_open(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / "etc").mkdir()
    server.begin("ann", _RUN, 60)
    assert recovery.enabled(tmp_path)
    text = (tmp_path / recovery.PATHS[0]).read_text()
    assert f"if [ -e {server.state.snapshot}/manifest.json ]; then exec " in text
    server.push("new")
    server.confirm(_RUN)
    assert not recovery.enabled(tmp_path)
    server.begin("ann", "r2", 60)
    assert not recovery.enabled(tmp_path), "rbops.service does it now"
    server.remove("r2")
    assert recovery.enabled(tmp_path)
    server.confirm("r2")
    assert not list(tmp_path.rglob("*rbops-recovery*"))


def test_what_a_killed_begin_left_goes_with_its_timer(tmp_path: Path) -> None:
    server = Server(tmp_path)
    recovery.prepare(tmp_path, server.state.snapshot, ("/usr/bin/python3", "x", "boot"))
    (tmp_path / "etc/systemd/system/.rbops-recovery.service.part.7").touch()
    (tmp_path / "etc/systemd/system/rbops-recovery.timer").touch()
    assert not server.revert(_RUN)
    assert [path.name for path in tmp_path.rglob("*rbops-recovery*")] == ["rbops-recovery.timer"]


def test_a_confirmation_says_what_a_read_only_disk_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path)
    (tmp_path / "etc").mkdir()
    server.begin("ann", _RUN, 60)
    server.push("new")
    monkeypatch.setattr(Server, "waiting", lambda _: [])
    monkeypatch.setattr(recovery, "forget", lambda _: None)
    server.confirm(_RUN)
    assert server.after_confirm(_RUN, unlock=True)["stays"] == [f"/{path}" for path in recovery.PATHS]
    monkeypatch.undo()
    server.begin("ann", "r2", 60)
    assert not recovery.left(tmp_path), "the next run removes it"


def test_a_boot_verb_within_a_change_of_this_boot_changes_no_file(tmp_path: Path) -> None:
    """Somebody restarts rbops.service: the change stays open, and the timer has the old state to bring back."""
    server = Server(tmp_path)
    (tmp_path / "etc").mkdir()
    change(server, "old")
    old = server.seen()
    server.begin("ann", _RUN, 60)
    server.push("new")
    new = server.seen()
    assert not server.boot()["restored"]
    assert server.seen() == new
    assert server.timer.armed()
    assert server.revert(_RUN)
    assert server.seen() == old


def _after_a_power_cut(arena: Arena) -> None:
    assert change_open(arena.lab, _SERVER)
    arena.lab.kill(_SERVER)
    arena.lab.restart(_SERVER)
    wait_for("the change is undone", lambda: not change_open(arena.lab, _SERVER), _LONGEST_S)
    wait_for("nothing of it is left", lambda: _settled(arena), _LONGEST_S)


def _settled(arena: Arena) -> bool:
    found = inside(arena.lab, _SERVER, "sh", "-c", "ls /etc/systemd/system | grep recovery || true")
    return not found.strip()


@pytest.mark.lab
@pytest.mark.root
def test_a_power_cut_at_the_end_of_a_remove_boots_the_old_configuration(arena: Arena) -> None:
    now = arena.settle("old", "new")
    inside(arena.lab, _SERVER, "rbops-node", *_OPEN)
    inside(arena.lab, _SERVER, "rbops-node", "remove", "--run", _RUN)
    _after_a_power_cut(arena)
    assert arena.which() == now


@pytest.mark.lab
@pytest.mark.root
@pytest.mark.faults
def test_a_power_cut_before_the_first_unit_is_there_boots_nothing_of_rbops(arena: Arena) -> None:
    arena.settle("old", "new")
    inside(arena.lab, _SERVER, "cp", "/usr/sbin/rbops-node", "/root/rbops-node")
    arena.settle("fresh")
    inside(arena.lab, _SERVER, "python3", "/root/rbops-node", *_OPEN)
    inside(arena.lab, _SERVER, "sh", "-c", "mkdir /etc/rbops; echo half > /etc/rbops/node.json")
    _after_a_power_cut(arena)
    inside(arena.lab, _SERVER, "sh", "-c", "rm -r /root/rbops-node /run/rbops-node /var/lib/rbops || true")
    assert arena.which() == "fresh"
