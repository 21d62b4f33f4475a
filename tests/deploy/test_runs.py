"""Run folders, extra variables, stopping: what needs no server."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
import yaml

from rbops.deploy.extra_vars import extra_vars_yaml
from rbops.deploy.probe import Probe, check_identities
from rbops.deploy.runs import new_run
from rbops.deploy.stop import stoppable
from rbops.deploy.unsafe_yaml import load_plain
from rbops.deploy.vault import Vault
from rbops.errors import Mismatch, UsageError
from tests.support.errors import raises


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_run_is_private_and_fresh(state: Path) -> None:
    before = os.umask(0)
    try:
        first, second = new_run("apply"), new_run("apply")
        first.write("env/extravars", "{}")
        first.note("start")
    finally:
        os.umask(before)
    assert first.folder != second.folder
    assert first.folder.parent == state / "rbops" / "runs"
    for path in (first.folder, *first.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_run_does_not_follow_links(state: Path) -> None:
    run = new_run("apply")
    victim = state / "victim"
    victim.write_text("whole")
    (run.folder / "result.json").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        run.finish({})
    assert victim.read_text() == "whole"


def test_only_old_finished_runs_are_forgotten(state: Path) -> None:
    unfinished = new_run("apply")
    for _ in range(25):
        new_run("apply").finish({})
    new_run("apply")
    folders = list((state / "rbops" / "runs").iterdir())
    assert unfinished.folder in folders
    assert len([path for path in folders if (path / "result.json").exists()]) == 20


def test_extra_vars_are_inert(tmp_path: Path) -> None:
    file = tmp_path / "more.yml"
    file.write_text('d: {deep: [\'{{ lookup("pipe", "id") }}\']}\nport: 5\n')
    text = extra_vars_yaml(["a=1 b='{{ c }}'", '{"c": "{{ x }}", "n": 2}', f"@{file}", "a=3"], Vault())
    assert load_plain(text) == {
        "a": "3",
        "b": "{{ c }}",
        "c": "{{ x }}",
        "n": 2,
        "port": 5,
        "d": {"deep": ['{{ lookup("pipe", "id") }}']},
    }
    assert text.count("!unsafe") == text.count('"3"') + 3
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.safe_load(text)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("word", "syntax"),
        ("a b=1", "syntax"),
        ("'open", "syntax"),
        ("=1", "syntax"),
        ("{", "yaml"),
        ("@/nonexistent", "file"),
        ("[1, 2]", "mapping"),
    ],
)
def test_invalid_extra_vars(argument: str, reason: str) -> None:
    with raises(UsageError, f"extra-vars.{reason}"):
        extra_vars_yaml([argument], Vault())


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_ask_for_the_end(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with stoppable() as stop:
        assert not stop.requested
        signal.raise_signal(signum)
        assert stop.requested
        assert stop.reason == signum.name
        assert not stop.insisted
        signal.raise_signal(signum)
        assert stop.insisted
    assert signal.getsignal(signum) is before


def probed(name: str, machine: str, server: str | None = None, cluster: str | None = None) -> Probe:
    return Probe(name, machine, "boot", "6.1.0", "3.11.2", 1.0, cluster, server, None, {})


def test_one_machine_under_two_names() -> None:
    with raises(Mismatch, "probe.same-machine", server="n1"):
        check_identities([probed("n0", "m"), probed("n1", "m")], "rb4")


def test_another_server_of_the_cluster_answers() -> None:
    with raises(Mismatch, "probe.other-server", server="n0", file="/etc/rbops/node.json"):
        check_identities([probed("n0", "m", server="n2", cluster="rb4")], "rb4")
    check_identities([probed("n0", "m", server="n2", cluster="other"), probed("n1", "k", "n1", "rb4")], "rb4")
