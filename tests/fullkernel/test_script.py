"""scripts/full-kernel: what it prints, returns and leaves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "full-kernel"


@pytest.mark.full_kernel
@pytest.mark.timeout(600)
def test_status_output_and_files_come_back_and_nothing_else(tmp_path: Path) -> None:
    written = tmp_path / "written"
    work = f"echo there; ip link add red type vrf table 9 && echo kept > $OUT/file; echo gone > {written}; exit 7"
    command = [str(SCRIPT), "--output", str(tmp_path / "out"), "--timeout", "300", "--", "sh", "-c", work]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "there\n"), done.stderr
    assert (tmp_path / "out" / "file").read_text() == "kept\n"
    assert not written.exists()


@pytest.mark.full_kernel
@pytest.mark.timeout(600)
def test_a_machine_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    command = [str(SCRIPT), "--output", str(tmp_path), "--timeout", "2", "--", "sleep", "600"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 124
    assert done.stderr == "full-kernel: stopped after 2 s\n"
