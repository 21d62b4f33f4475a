"""The server's half of rbops_push alone, sent as the action sends it: files are put, and what is not planned goes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops.dataplane import registry
from rbops.node.state import State
from rbops.render import exporter, sflow, unplanned
from rbops.render.daemons import PLACES
from rbops.resources import shared


def run(folder: Path, *, check: bool = False, **more: Any) -> dict[str, Any]:
    wanted = [
        {"dest": str(path), "mode": "0644", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.glob("elements/kept*"))
    ]
    clean = [str(folder / name) for name in ("elements", "single", "absent")]
    request = {"step": "files", "files": wanted, "write": False, "clean": clean, "check": check, "diff": True}
    return push({**request, **more})


def push(request: dict[str, Any], *contents: bytes) -> dict[str, Any]:
    """The answer of the server's half."""
    header = json.dumps({**request, "sizes": [len(content) for content in contents]}).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-I", shared("playbooks", "library", "rbops_push.py")],
        input=header + b"".join(contents),
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def entry(path: Path, content: bytes, mode: str = "0644") -> dict[str, str]:
    return {"dest": str(path), "mode": mode, "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.root
def test_files_are_put_whole_with_their_modes(tmp_path: Path) -> None:
    key, text = tmp_path / "made/key", tmp_path / "made/text"
    wanted = [entry(key, b"secret", "0600"), entry(text, b"\xff\n")]
    asked = {"step": "files", "files": wanted, "clean": [], "check": False, "diff": False, "write": False}
    assert [stale["reason"] for stale in push(asked)["stale"]] == ["absent", "absent"]
    assert push({**asked, "write": True}, b"secret", b"\xff\n") == {"stale": []}
    assert push(asked)["stale"] == []
    assert (key.read_bytes(), key.stat().st_mode & 0o7777) == (b"secret", 0o600)
    assert (text.read_bytes(), text.stat().st_mode & 0o7777) == (b"\xff\n", 0o644)
    text.chmod(0o666)
    assert push(asked)["stale"] == [{"dest": str(text), "reason": "mode or owner", "before": None}]
    assert sorted(path.name for path in text.parent.iterdir()) == ["key", "text"]


@pytest.mark.root
def test_content_that_was_cut_on_its_way_is_not_put(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    asked = {"step": "files", "files": [entry(path, b"new content")], "clean": [], "write": True}
    answer = push({**asked, "check": False, "diff": False}, b"new con")
    assert answer == {"failed": True, "msg": f"{path} arrived damaged"}
    assert [left.read_bytes() for left in tmp_path.iterdir()] == [b"old"]


@pytest.mark.root
@pytest.mark.parametrize("there", ["nothing of rbops", "no change", "another", "mine"])
def test_a_change_that_the_server_has_reverted_writes_nothing_more(tmp_path: Path, there: str) -> None:
    """The controller was cut off while the timer fired; the play goes on when it is back."""
    path, snapshot = tmp_path / "file", tmp_path / "state/snapshot"
    if there != "nothing of rbops":
        snapshot.mkdir(parents=True)
    if there in {"another", "mine"}:
        (snapshot / "manifest.json").write_text(json.dumps({"run": there}))
    asked = {"step": "files", "files": [entry(path, b"new")], "clean": [], "check": False, "diff": False}
    mine = {**asked, "run": "mine", "state": str(tmp_path / "state")}
    for request, contents in ((mine, ()), ({**mine, "write": True}, (b"new",))):
        answer = push({"write": False, **request}, *contents)
        assert answer.get("failed", False) is (there != "mine")
        assert "not open any more: this server has rolled it back" in answer.get("msg", "") or there == "mine"
    assert path.exists() is (there == "mine")
    # A play without a transaction asks nobody.
    assert push({**asked, "run": "", "write": True}, b"new") == {"stale": []}


@pytest.mark.root
def test_nothing_is_written_while_rbops_node_reverts(tmp_path: Path) -> None:
    path, state = tmp_path / "file", tmp_path / "state"
    (state / "snapshot").mkdir(parents=True)
    manifest = state / "snapshot/manifest.json"
    manifest.write_text(json.dumps({"run": "mine"}))
    asked = {"step": "files", "files": [entry(path, b"new")], "clean": [], "check": False, "diff": False}
    with ThreadPoolExecutor(1) as pool:
        with State(state).exclusive():
            answer = pool.submit(push, {**asked, "run": "mine", "state": str(state), "write": True}, b"new")
            with pytest.raises(TimeoutError):
                answer.result(timeout=1)
            manifest.unlink()
        assert "not open any more" in answer.result()["msg"]
    assert not path.exists()


@pytest.mark.root
def test_again_does_nothing_where_something_is_not_there(tmp_path: Path) -> None:
    """It is left to the play; where all is there it does what the step activate does."""
    program, file = tmp_path / "rbops-node", tmp_path / "file"
    program.write_text("#!/bin/sh\ntouch $(dirname $0)/ran\nexit 3\n")
    program.chmod(0o755)
    file.write_bytes(b"old")
    (tmp_path / "place").mkdir()
    (tmp_path / "place/older").touch()
    asked = {"step": "again", "files": [entry(file, b"new")], "names": ["dpkg", "rbops-no-such-package"], "keep": []}
    asked |= {"clean": [str(tmp_path / "place")], "program": str(program)}
    missing = [str(file), str(tmp_path / "place/older"), "rbops-no-such-package"]
    assert push(asked) == {"absent": missing}
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "place/older").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elements/old").mkdir(parents=True)
    for name in ("elements/kept.cc", "elements/older.cc", "elements/old/x.cc", "single", "single.not", "elements/key"):
        (tmp_path / name).write_text(f"text of {name}\n")
    (tmp_path / "elements/key").chmod(0o600)
    (tmp_path / "elements/link").symlink_to("kept.cc")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.root
def test_what_is_not_copied_goes(folder: Path) -> None:
    before = files(folder)
    gone = {"elements/older.cc", "elements/old/x.cc", "elements/key", "elements/link", "single"}
    looked = run(folder, check=True)
    assert {Path(entry["dest"]).relative_to(folder).as_posix() for entry in looked["stale"]} == gone
    assert {entry["reason"] for entry in looked["stale"]} == {"not planned"}
    texts = {Path(entry["dest"]).name: entry["before"] for entry in looked["stale"]}
    assert texts["older.cc"] == "text of elements/older.cc\n"
    assert texts["key"] is None  # what only root may read is shown to nobody
    assert files(folder) == before
    assert run(folder)["stale"]
    assert files(folder) == {"elements", "elements/kept.cc", "single.not"}
    assert not run(folder)["stale"]


def test_diff_and_role_know_the_same_places() -> None:
    defaults = yaml.safe_load(Path(shared("roles", "activate", "defaults", "main.yml")).read_text(encoding="utf-8"))
    planes = list(registry.controllers())
    assert defaults["activate_places"] == {
        "host": [*PLACES, exporter.PLACE, sflow.PLACE, *(place for plane in planes for place in plane.places.beside)],
        **{plane.kind: list(plane.places.own) for plane in planes},
    }


def test_files_of_the_other_data_plane_are_not_planned() -> None:
    found = [
        "/etc/rbops/node.json", "/etc/rbops/fib.bin", "/etc/rbops/xdp/router.bpf.o", "/etc/rbops/notes",
        "/etc/rbops/click/router.click", "/etc/rbops/click/elements/older.cc", "/etc/rbops/click/ipsec.click",
        "/etc/systemd/system/rbops-click.service", "/etc/systemd/system/rbops.service",
    ]  # fmt: skip
    xdp = {"/etc/rbops/node.json", "/etc/rbops/fib.bin", "/etc/rbops/xdp/router.bpf.o"}
    assert unplanned("xdp", xdp, found) == sorted(path for path in found if "click" in path)
    click = {"/etc/rbops/node.json", "/etc/rbops/click/router.click", "/etc/systemd/system/rbops-click.service"}
    # The keys of tunnels are no rendered file.
    assert unplanned("click", click, found) == [
        "/etc/rbops/click/elements/older.cc", "/etc/rbops/fib.bin", "/etc/rbops/xdp/router.bpf.o"
    ]  # fmt: skip
