"""Which element package runs, and which one would after a restart."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click
from rbops.dataplane.click.package import loaded, planned

MAPS = """\
7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/libc.so.6
7f02-7f03 r-xp 00000000 08:01 13 /var/lib/rbops/click/packages/abc/rbops.uo{gone}
7f04-7f05 rw-p 00000000 00:00 0
"""


@pytest.mark.parametrize("gone", ["", " (deleted)"])
def test_the_loaded_package_is_in_the_map_of_the_process(gone: str, tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12/maps").write_text(MAPS.format(gone=gone))
    assert loaded(12, tmp_path) == "abc"


def test_none_loaded_or_planned(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12/maps").write_text(MAPS.splitlines()[0])
    assert loaded(12, tmp_path) == loaded(13, tmp_path) == planned(tmp_path / "rbops.uo") == ""


@pytest.mark.click
def test_of_a_running_click(installed: Click, package: Path, tmp_path: Path) -> None:
    (tmp_path / "router.click").write_text('require(package "rbops"); Script(print, read version, pause);')
    environment = {**os.environ, "CLICKPATH": f"{package}:"}
    command = [str(installed.program), str(tmp_path / "router.click")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.read(1)  # it runs
            assert loaded(process.pid) == planned(package / "rbops.uo") != ""
        finally:
            process.kill()
