"""The server's half of rbops_keys, run as Ansible runs it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rbops.resources import shared

pytestmark = pytest.mark.root

KEYS, OTHER = "define($ESP_KEY0 \\<00c1f2a3b4d5e6f708192a3b4c5d6e7f>);\n", "define($ESP_KEY0 \\<ff>);\n"


def play(dest: Path, content: str, *, check: bool = False) -> str:
    """The reason of a change, empty for none; a failure's message."""
    arguments = {"dest": str(dest), "content": content, "_ansible_check_mode": check, "_ansible_diff": True}
    done = subprocess.run(
        [sys.executable, shared("playbooks", "library", "rbops_keys.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_no_log": True}}),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "00c1f2a3" not in said
    found = json.loads(done.stdout)
    if found.get("failed"):
        return str(found["msg"])
    assert found["changed"] == bool(found["reason"])
    return str(found["reason"])


def test_the_file_is_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "ipsec.click"
    assert play(path, KEYS, check=True) == "absent"
    assert not path.parent.exists()
    assert play(path, KEYS) == "absent"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (KEYS, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert play(path, KEYS) == ""
    assert play(path, OTHER, check=True) == "content"
    assert path.read_text() == KEYS
    assert play(path, OTHER) == "content"
    path.chmod(0o640)
    assert play(path, OTHER) == "mode or owner"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (OTHER, 0o600)
    assert [entry.name for entry in path.parent.iterdir()] == ["ipsec.click"]


def test_without_keys_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ipsec.click"
    assert play(path, "") == ""
    play(path, KEYS)
    assert play(path, "", check=True) == "not planned"
    assert path.exists()
    assert play(path, "") == "not planned"
    assert not path.exists()


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "ipsec.click", tmp_path / "elsewhere"
    elsewhere.write_text(KEYS)
    path.symlink_to(elsewhere)
    assert play(path, OTHER) == "kind"
    assert not path.is_symlink()
    assert (path.read_text(), elsewhere.read_text()) == (OTHER, KEYS)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "ipsec.click").mkdir()
    assert play(tmp_path / "ipsec.click", KEYS) == "Is a directory"
    assert [entry.name for entry in tmp_path.iterdir()] == ["ipsec.click"]
