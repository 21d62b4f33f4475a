"""rbops-node under the oldest Python that a server may have, with nothing but its standard library."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from rbops.common.versions import MIN_PYTHON
from rbops.render.program import node_program


@pytest.fixture
def oldest() -> str:
    """Debian's own, or one that is called by its version."""
    for name in ("/usr/bin/python3", f"python{MIN_PYTHON}"):
        found = shutil.which(name)
        if found:
            said = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stdout
            if said.startswith(f"Python {MIN_PYTHON}."):
                return found
    pytest.skip(f"there is no Python {MIN_PYTHON} on this machine")


def test_every_module_is_imported_by_the_oldest_python(oldest: str, tmp_path: Path) -> None:
    path = tmp_path / "rbops-node"
    path.write_bytes(node_program())
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("rbops/")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    assert "rbops.node.engine" in modules
    code = f"import sys; sys.path.insert(0, {str(path)!r})\nfor name in {modules!r}: __import__(name)"
    # -S: no site-packages, as in -I no environment.
    done = subprocess.run([oldest, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_says_how_it_is_used(oldest: str, tmp_path: Path) -> None:
    path = tmp_path / "rbops-node"
    path.write_bytes(node_program())
    done = subprocess.run([oldest, "-I", str(path), "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
