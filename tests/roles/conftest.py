from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.render.tree import render
from rbops.render.write import write
from tests.conftest import ELEMENTS
from tests.lab.plans import mesh
from tests.roles.server import CALLBACK, PLAYBOOK, Server
from tests.support.lab import MakeLab, make_lab

__all__ = ["make_lab"]

_OWN = ("etc", "opt", "var/lib")
_SANDBOX = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
for folder in etc opt var/lib; do
    mkdir -p "$1/$folder/upper" "$1/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
rm -rf /etc/rbops /var/lib/rbops /opt/rbops-click
echo ready
exec sleep infinity
"""


def _rendered(folder: Path) -> Path:
    """What the role finds beside its playbook."""
    write(render(mesh(2)), folder)
    (folder / "click.yml").write_text(PLAYBOOK)
    (folder / "results.py").write_text(CALLBACK)
    for path in ELEMENTS.iterdir():
        if path.suffix in (".cc", ".hh"):
            shutil.copy(path, folder / "common" / path.name)
    (folder / "common/routes.click").write_text("// routes\n")
    return folder


@pytest.fixture(scope="module")
def server(make_lab: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A lab server, which has neither Click nor compiler."""
    lab = make_lab(mesh(2), "rbt-click-role")
    folder = _rendered(tmp_path_factory.mktemp("lab") / "out")
    return Server(folder, lab.inventory, lambda argv: lab.command("n0", argv), ())


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """This machine and its compiler, with folders of its own over those that the role writes to."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "own").mkdir()
    inventory = folder / "hosts.ini"
    inventory.write_text(f"n0 ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    command = ["unshare", "--mount", "sh", "-c", _SANDBOX, "sh", str(folder / "own")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            enter = ("nsenter", f"--target={process.pid}", "--mount", f"--wd={folder}")
            yield Server(_rendered(folder / "out"), inventory, lambda argv: [*enter, *argv], enter)
        finally:
            os.kill(process.pid, signal.SIGKILL)
