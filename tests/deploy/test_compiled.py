"""The node program's code as it is sent: what the servers' own Python would make of it."""

from __future__ import annotations

import hashlib
import marshal
import platform
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rbops.deploy.compiled import compiled, files_for
from rbops.node import start
from rbops.render.program import node_program

PROGRAM = node_program()
HERE = platform.python_version()


def server(python: str, digest: str | None) -> Any:
    files = {} if digest is None else {"/usr/sbin/rbops-node": ("0o755", digest)}
    return SimpleNamespace(python=python, files=files)


def test_it_is_sent_where_the_program_is_new_and_the_python_the_same() -> None:
    own = hashlib.sha256(PROGRAM).hexdigest()
    servers = {
        "fresh": server(HERE, None),
        "older": server(HERE, "0" * 64),
        "same": server(HERE, own),
        "python": server("3.99.1", None),
    }
    found = files_for(servers, PROGRAM)
    assert sorted(found) == ["fresh", "older"]
    assert list(found["fresh"]) == [start.file_name(own)]
    assert files_for({"same": servers["same"]}, PROGRAM) == {}


def test_a_server_has_the_modules_that_it_would_compile(tmp_path: Path) -> None:
    path = tmp_path / "rbops-node"
    path.write_bytes(PROGRAM)
    own = start.load(str(path), str(tmp_path / "own"))
    path.with_name(start.file_name(hashlib.sha256(PROGRAM).hexdigest())).write_bytes(compiled(PROGRAM))
    sent = start.load(str(path), str(tmp_path / "sent"))
    assert own is not None
    assert sent is not None
    assert [(name, *entry[:2]) for name, entry in sent._modules.items()] == [
        (name, *entry[:2]) for name, entry in own._modules.items()
    ]
    for name, (_, _, code) in sent._modules.items():
        # Equal but for the file's name, which is where the program will be.
        assert marshal.loads(code).co_code == marshal.loads(own._modules[name][2]).co_code, name  # noqa: S302
        assert marshal.loads(code).co_filename.startswith("/usr/sbin/rbops-node/rbops/")  # noqa: S302


def test_what_differs_from_the_sources_here_is_compiled(tmp_path: Path) -> None:
    """A program of another version, as a rollback may have it."""
    path = tmp_path / "other"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rbops/__init__.py", "")
        file.writestr("rbops/errors.py", "print('another')")
    (tmp_path / "code").write_bytes(zlib.decompress(compiled(path.read_bytes()))[4:])
    code = "import marshal, sys; found, _ = marshal.load(open(sys.argv[1], 'rb')); "
    code += "exec(marshal.loads(found['rbops.errors'][2]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "code"], capture_output=True, text=True, check=True)
    assert done.stdout == "another\n"
