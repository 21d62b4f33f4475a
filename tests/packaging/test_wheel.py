"""The wheel stands on its own: built, unpacked elsewhere, and run from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own, its dependencies being those of this environment."""
    place = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place / "dist"), str(CHECKOUT))
    (wheel,) = (place / "dist").glob("rbops-*.whl")
    _pip("install", "--no-deps", "--target", str(place / "site"), str(wheel))
    return place / "site"


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", "from rbops.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import rbops; print(rbops.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert where.stdout.startswith(str(installed))
    (tmp_path / "my.click").write_text("FromDevice(eth0) -> Queue -> ToDevice(eth1)\n")
    for arguments in (
        ["click-check", "my.click"],
        ["init", "."],
        ["check", "router.yml"],
        ["plan", "router.yml"],
        ["render", "router.yml", "-o", "out"],
    ):
        done = _run(installed, tmp_path, *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert (tmp_path / "out" / "site.yml").is_file()
    assert any((tmp_path / "out" / "roles").iterdir())


def test_holds_what_servers_need(installed: Path) -> None:
    share = installed / "rbops" / "share"
    assert {path.name for path in share.iterdir()} == {"playbooks", "roles", "templates"}
    assert (installed / "rbops" / "dataplane" / "xdp" / "obj" / "router.bpf.o").read_bytes()[:4] == b"\x7fELF"
    elements = {path.name for path in (installed / "rbops" / "dataplane" / "click").iterdir()}
    assert {
        "directvlb.cc",
        "directvlb.hh",
        "directvlb_core.hh",
        "fabric.hh",
        "hosttap.cc",
        "macdispatch.cc",
    } <= elements
    assert (share / "roles" / "click" / "library" / "rbops_click.py").is_file()
    assert not (installed / "tests").exists()
    assert not (installed / "inventory").exists()
    for page in ("man1/rbops.1", "man5/rbops-spec.5", "man8/rbops-node.8"):
        assert (installed / "share" / "man" / page).read_text().startswith('.\\"')


def test_objects_do_not_name_this_machine(installed: Path) -> None:
    for path in (installed / "rbops").rglob("*.bpf.o"):
        assert str(CHECKOUT).encode() not in path.read_bytes(), path.name
