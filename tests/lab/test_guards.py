"""What is refused before anything is made, and locks. None of these needs root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rbops.errors import CheckFailed, Locked, Mismatch, StateUnknown, UsageError
from rbops.lab import manifest as manifests
from rbops.lab import names, net, providers
from rbops.lab.base import recipe_digest
from rbops.lab.command import ip_batch, require_tools, run
from rbops.lab.lock import locked, try_locked
from rbops.lab.manifest import Manifest
from rbops.lab.progress import silent
from rbops.lab.registry import reserve
from tests.lab.plans import mesh, systems
from tests.support.errors import raises


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, so that nothing here meets a real lab."""
    monkeypatch.setattr(names, "STATE", tmp_path)
    return tmp_path


@pytest.fixture
def _as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_root_is_asked_for(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    nspawn = providers.provider("nspawn")
    for call in (
        lambda: nspawn.up(mesh(2), "x"),
        lambda: nspawn.down("x"),
        lambda: nspawn.status("x"),
        lambda: nspawn.kill("x", "n0"),
        lambda: nspawn.restart("x", "n0"),
        lambda: nspawn.command("x", "n0"),
    ):
        with raises(UsageError, "lab.root"):
            call()
    assert not list(state.iterdir())


@pytest.mark.usefixtures("_as_root")
def test_missing_tools_are_named_with_their_packages(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(state))
    with raises(Mismatch, "lab.tools") as caught:
        providers.provider().up(mesh(2), "x")
    assert caught.value.exit_code == 3
    hint = caught.value.hint or ""
    assert hint.startswith("apt-get install")
    assert "systemd-container" in hint
    assert "openssh-client" in hint


def test_mmdebstrap_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with raises(Mismatch, "lab.tools") as caught:
        require_tools(["mmdebstrap"])
    assert caught.value.hint == "apt-get install --no-install-recommends mmdebstrap"


@pytest.mark.usefixtures("_as_root")
def test_a_plan_for_other_servers_is_refused_before_anything_is_made(state: Path) -> None:
    with raises(Mismatch, "lab.profile", server="n0"):
        providers.provider().up(mesh(2, profile="nehalem"), "x")
    assert not list(state.iterdir())


@pytest.mark.usefixtures("_as_root")
def test_a_name_that_leaves_the_state_folder_is_refused(state: Path) -> None:
    outside = state.parent / "outside"
    outside.mkdir()
    for call in (lambda: providers.provider().down("../outside"), lambda: providers.load("../outside")):
        with raises(UsageError, "lab.name"):
            call()
    assert outside.is_dir()


@pytest.mark.usefixtures("_as_root", "state")
def test_down_of_no_lab_is_no_error() -> None:
    assert providers.provider().down("never-was") is False


@pytest.mark.usefixtures("_as_root", "state")
def test_other_verbs_on_no_lab_say_so() -> None:
    nspawn = providers.provider()
    for call in (
        lambda: nspawn.status("x"),
        lambda: nspawn.restart("x", "n0"),
        lambda: nspawn.command("x", "n0"),
        lambda: providers.load("x"),
    ):
        with raises(Mismatch, "lab.unknown"):
            call()


@pytest.mark.usefixtures("_as_root")
def test_a_folder_without_manifest_is_an_up_that_did_not_begin(state: Path) -> None:
    (state / "x").mkdir()
    with raises(UsageError, "lab.incomplete"):
        providers.provider().up(mesh(2), "x")
    assert providers.provider().down("x") is True
    assert not (state / "x").exists()


NEWER = '{"schema_version": 99, "provider": "clouds", "subnet": 250, "servers": "elsewhere"}'


@pytest.mark.parametrize(
    ("text", "said"),
    [(NEWER, 0), ("{", 1), ("[]", 1), ('{"subnet": "7"}', 1), ('{"subnet": 300}', 1), ("\udc80", 1)],
)
def test_a_lab_of_another_version_does_not_stop_others(
    state: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: int
) -> None:
    monkeypatch.setattr(net, "networks_in_use", list)
    (state / "other").mkdir()
    (state / "other" / "lab.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    (state / "begun").mkdir()
    (state / "no folder").touch()
    steps: list[str] = []

    def make(subnet: int) -> Manifest:
        return manifests.from_plan(mesh(2), "x", subnet, systems(mesh(2)), "nspawn")

    with ExitStack() as held:
        assert reserve("x", make, held, steps.append) == manifests.read(state / "x")
        with raises(Locked, "lab.locked"), try_locked(state / "x", "lab x"):
            pass
    assert [str(state / "other" / "lab.json") in step for step in steps] == [True] * said


def test_the_network_of_a_lab_of_another_version_is_taken(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "networks_in_use", list)

    def make(subnet: int) -> Manifest:
        return manifests.from_plan(mesh(2), "x", subnet, systems(mesh(2)), "nspawn")

    free = names.choose_subnet("x", [])
    (state / "other").mkdir()
    (state / "other" / "lab.json").write_text(NEWER.replace("250", str(free)))
    with ExitStack() as held:
        assert reserve("x", make, held, silent).subnet == free % 254 + 1


@pytest.mark.usefixtures("_as_root")
def test_a_lab_of_another_version_is_not_removed(state: Path) -> None:
    (state / "other").mkdir()
    (state / "other" / "lab.json").write_text(NEWER)
    with raises(StateUnknown, "lab.manifest", file=str(state / "other/lab.json")):
        providers.provider().down("other")
    assert (state / "other" / "lab.json").read_text() == NEWER


def test_unknown_provider() -> None:
    with raises(UsageError, "lab.provider"):
        providers.provider("docker")


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from rbops.lab.lock import try_locked\n"
    code += "with try_locked(Path(sys.argv[1]), 'x'):\n print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with raises(Locked, "lab.locked") as caught, try_locked(tmp_path, "lab x"):
            pass
        assert f"process {holder.pid}" in str(caught.value)
        holder.kill()
    with try_locked(tmp_path, "lab x"):  # a holder that was killed holds nothing
        pass


def test_a_lock_on_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), try_locked(tmp_path / "gone", "x"):
        pass


def test_a_waited_lock_makes_its_folder_private(tmp_path: Path) -> None:
    with locked(tmp_path / "new"):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_command_that_fails_says_what_it_said() -> None:
    with raises(CheckFailed, "lab.command") as caught:
        run(["sh", "-c", "echo no >&2; exit 3"])
    assert str(caught.value).startswith("`sh -c 'echo no >&2; exit 3'` ")
    assert str(caught.value).endswith("3: no")


def test_an_empty_batch_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ip_batch([])


def test_the_recipe_has_one_digest() -> None:
    assert recipe_digest("bookworm") == recipe_digest("bookworm")
    assert len(recipe_digest("bookworm")) == 12


def test_an_interrupt_waits_for_the_tool_that_runs(tmp_path: Path) -> None:
    """The tool ends its work although the signal came in its midst, and the signal is not lost."""
    code = "import signal, sys; from rbops.lab.command import run\n"
    code += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
    code += "run(['sh', '-c', 'mkdir begun; sleep 0.3; mkdir ended'])\nsys.exit(0)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as process:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
    assert process.returncode == 9
    assert (tmp_path / "ended").exists()
