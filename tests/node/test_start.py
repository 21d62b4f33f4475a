"""The node program's compiled modules: kept by content, made anew whenever they cannot be trusted or read."""

from __future__ import annotations

import hashlib
import marshal
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from rbops.node import start
from rbops.render.program import node_program

CODE = 'import sys\n\ndef said():\n    return "{}"\n'


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write(tmp_path / "program", "one")


def write(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rbops/__init__.py", "")
        file.writestr("rbops/made/__init__.py", "")
        file.writestr("rbops/made/up.py", CODE.format(text))
    return path


def said(found: start.Compiled | None) -> str:
    assert found is not None
    scope: dict[str, object] = {}
    exec(marshal.loads(found._modules["rbops.made.up"][2]), scope)  # noqa: S102, S302 - as an import does
    return str(eval("said()", scope))  # noqa: S307 - the module's own function


def kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_modules_are_compiled_once_for_an_archive(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    first = start.load(str(archive), str(folder))
    assert said(first) == "one"
    assert first is not None
    spec = first.find_spec("rbops.made")
    assert spec is not None
    assert (spec.submodule_search_locations, spec.origin) == ([], f"{archive}/rbops/made/__init__.py")
    assert first.get_source("rbops.made.up") == CODE.format("one")
    assert first.find_spec("json") is None
    (file,) = kept(folder)
    before = file.stat()
    assert said(start.load(str(archive), str(folder))) == "one"
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert said(start.load(str(write(archive, "two")), str(folder))) == "two"
    assert len(kept(folder)) == 2


def test_what_dataclasses_write_is_compiled_once(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    text = "def double(x):\n    return 2 * x"
    first = start.load(str(archive), str(folder))
    assert first is not None
    for _ in range(2):
        scope: dict[str, Any] = {}
        first.run(text, {}, scope)
        assert scope["double"](21) == 42
    first.keep()
    (file,) = kept(folder)
    again = start.load(str(archive), str(folder))
    assert again is not None
    assert list(again._texts) == [text]
    inode = file.stat().st_ino
    again.run(text, {}, scope)
    again.keep()
    assert file.stat().st_ino == inode
    again.run("x = 1", {}, scope)
    folder.rename(tmp_path / "gone")
    again.keep()
    assert not folder.exists()


def test_code_beside_the_archive_is_used_and_kept(archive: Path, tmp_path: Path) -> None:
    """As `rbops apply` sends it; of another Python, or damaged, it is not used."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    beside = archive.with_name(start.file_name(digest))
    code = compile(CODE.format("compiled elsewhere"), "up.py", "exec")
    sent = start.packed({"rbops.made.up": ("rbops/made/up.py", False, marshal.dumps(code))}, {})
    for number, (content, expected) in enumerate(
        [(sent, "compiled elsewhere"), (b"\0" + sent[1:], "one"), (sent[:-1], "one"), (b"", "one")]
    ):
        beside.write_bytes(zlib.compress(content) if content else b"damaged")
        folder = tmp_path / f"kept{number}"
        assert said(start.load(str(archive), str(folder))) == expected
        beside.unlink()
        assert said(start.load(str(archive), str(folder))) == expected


def test_few_are_kept(archive: Path, tmp_path: Path) -> None:
    for number in range(6):
        write(archive, str(number))
        assert said(start.load(str(archive), str(tmp_path / "kept"))) == str(number)
    assert len(kept(tmp_path / "kept")) == 4


@pytest.mark.parametrize("damage", [b"", b"\x00", b"no code at all", marshal.dumps({}), marshal.dumps(7)])
def test_a_damaged_one_is_made_anew(archive: Path, tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "kept"
    start.load(str(archive), str(folder))
    (file,) = kept(folder)
    file.write_bytes(damage)
    assert said(start.load(str(archive), str(folder))) == "one"
    assert len(file.read_bytes()) > len(damage)


def test_nothing_is_read_where_others_may_write(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    start.load(str(archive), str(folder))
    folder.chmod(0o777)
    assert start.load(str(archive), str(folder)) is None
    assert start.load(str(tmp_path / "absent"), str(folder)) is None
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert start.load(str(archive), str(blocked)) is None


def test_elsewhere_than_on_a_server_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rbops-node"
    path.write_bytes(node_program())
    done = subprocess.run(
        [sys.executable, "-I", str(path), "--version"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.startswith("rbops-node ")
    assert not Path(start.FOLDER).exists()
