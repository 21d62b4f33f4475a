"""The configurations that a server keeps, without a kernel: what is on the disk and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbops.errors import Mismatch
from rbops.node import generations
from rbops.node.generations import KEPT, Generations
from rbops.node.installed import Installed
from rbops.node.state import State
from tests.node.recorded import Recorded
from tests.support.errors import raises

KEYS = "define($ESP_KEY0 \\<00c1f2a3b4d5e6f708192a3b4c5d6e7f>);"
PROGRAM = "usr/sbin/rbops-node"


@pytest.fixture
def kept(tmp_path: Path) -> Generations:
    etc, root = tmp_path / "etc", tmp_path / "root"
    (etc / "click").mkdir(parents=True)
    (etc / "routes.csv").write_text("routes" * 1000)
    (root / PROGRAM).parent.mkdir(parents=True)
    (root / PROGRAM).write_text("program")
    found = Generations(State(tmp_path / "state"), etc, Installed(Recorded(), root))
    configure(found, "a")
    return found


def configure(kept: Generations, digest: str) -> None:
    (kept.etc / "node.json").write_text(json.dumps({"cluster": "rb4", "server": "n0", "digest": digest}))


def numbers(kept: Generations) -> list[int]:
    return [generation.manifest["number"] for generation in kept.all()]


def test_what_is_kept(kept: Generations) -> None:
    assert kept.all() == []
    assert kept.keep("r1", "ann@desk", "first") == 1
    (generation,) = kept.all()
    shown = generation.to_json()
    assert shown.pop("confirmed") > 1e9
    assert shown == {
        "number": 1,
        "run": "r1",
        "cluster": "rb4",
        "server": "n0",
        "digest": "a",
        "holder": "ann@desk",
        "reason": "first",
    }
    assert (generation.etc / "routes.csv").read_bytes() == (kept.etc / "routes.csv").read_bytes()
    assert (generation.installed / PROGRAM).read_text() == "program"
    assert oct(kept.state.generations.stat().st_mode & 0o777) == "0o700"


def test_the_same_again_is_no_generation(kept: Generations) -> None:
    kept.keep("r1", "ann", "")
    assert kept.keep("r2", "bob", "") is None
    assert [generation.manifest["run"] for generation in kept.all()] == ["r1"]
    assert not (kept.state.generations / ".part").exists()


@pytest.mark.parametrize("changed", ["mode", "installed"])
def test_any_difference_is_one(kept: Generations, changed: str) -> None:
    kept.keep("r1", "ann", "")
    if changed == "mode":
        (kept.etc / "routes.csv").chmod(0o600)
    else:
        assert kept.installed is not None
        (kept.installed.root / PROGRAM).write_text("newer")
    assert kept.keep("r2", "ann", "") == 2


def test_the_last_ten_with_equal_files_once(kept: Generations) -> None:
    for index in range(KEPT + 3):
        configure(kept, f"plan {index}")
        kept.keep(f"r{index}", "ann", "")
    assert numbers(kept) == list(range(4, KEPT + 4))
    files = {(generation.etc / "routes.csv").stat().st_ino for generation in kept.all()}
    assert len(files) == 1
    assert kept.find(5).manifest["digest"] == "plan 4"
    with raises(Mismatch, "node.no-generation"):
        kept.find(1)


def test_keys_are_in_none_and_must_be_the_same(kept: Generations, tmp_path: Path) -> None:
    secret = kept.etc / "click" / "ipsec.click"
    secret.write_text(KEYS)
    secret.chmod(0o600)
    kept.keep("r1", "ann", "")
    folder = kept.state.generations
    assert [path for path in folder.rglob("*") if path.is_file() and b"00c1f2a3" in path.read_bytes()] == []
    kept.tree(kept.find(1), tmp_path / "restored")
    restored = tmp_path / "restored" / "click" / "ipsec.click"
    assert (restored.read_text(), restored.stat().st_mode & 0o777) == (KEYS, 0o600)
    for text in ("other keys", None):
        if text is None:
            secret.unlink()
        else:
            secret.write_text(text)
        with raises(Mismatch, "node.keys-changed", file=str(secret)):
            kept.tree(kept.find(1), tmp_path / "refused")
        assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(("then", "now"), [("bird", "bird"), ("frr", "frr"), ("bird", "frr")])
def test_passwords_of_routing_daemons(kept: Generations, tmp_path: Path, then: str, now: str) -> None:
    """In none; a rollback to the other daemon finds them with the one that runs now, in the same form."""
    word = 'define key_port0 = "canary";\n'
    secret = kept.etc / then / "keys.conf"
    secret.parent.mkdir()
    secret.write_text(word)
    kept.keep("r1", "ann", "")
    assert [
        path for path in kept.state.generations.rglob("*") if path.is_file() and b"canary" in path.read_bytes()
    ] == []
    (kept.etc / now).mkdir(exist_ok=True)
    secret.rename(kept.etc / now / "keys.conf")
    kept.tree(kept.find(1), tmp_path / "restored")
    restored = tmp_path / "restored" / then / "keys.conf"
    assert (restored.read_text(), restored.stat().st_mode & 0o777) == (word, 0o600)


def test_new_keys_alone_are_confirmed_with_the_newest(kept: Generations, tmp_path: Path) -> None:
    secret = kept.etc / "click" / "ipsec.click"
    secret.write_text(KEYS)
    kept.keep("r1", "ann", "")
    secret.write_text("rotated")
    assert kept.keep("r2", "ann", "") is None
    kept.tree(kept.find(1), tmp_path / "restored")
    assert (tmp_path / "restored" / "click" / "ipsec.click").read_text() == "rotated"


def test_a_full_disk_leaves_what_there_was(kept: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.keep("r1", "ann", "")
    configure(kept, "b")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generations, "sync_tree", full)
    with pytest.raises(OSError, match="No space"):
        kept.keep("r2", "ann", "")
    assert numbers(kept) == [1]
    assert [path.name for path in kept.state.generations.iterdir()] == ["000001"]
