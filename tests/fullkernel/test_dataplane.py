"""The data plane on the oldest kernel that servers may have: Debian 12's, booted over this checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _in_full_kernel(output: Path, *tests: str) -> str:
    """Run these tests in the machine; what pytest printed there. Fails with it when one failed or was left out."""
    command = ["scripts/full-kernel", "--timeout", "1200", "--output", str(output), "--"]
    command += [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=600", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr}"
    assert re.search(r"\d+ passed\b.* in ", done.stdout), done.stdout[-2000:]
    return done.stdout


@pytest.mark.full_kernel
@pytest.mark.timeout(1500)
def test_programs_load_and_are_swapped(tmp_path: Path) -> None:
    """Without the tests that count lost packets: an emulated processor does not keep up with their generator."""
    kept = "not lose_no_packet and not loses_no_packet"
    _in_full_kernel(tmp_path / "out", "tests/dataplane/test_loader.py", "tests/dataplane/test_verifier.py", "-k", kept)


@pytest.mark.full_kernel
@pytest.mark.timeout(1500)
def test_the_management_is_kept_apart_by_a_vrf(tmp_path: Path) -> None:
    """The same frames as on a kernel without VRFs, one set of routes suffices here; ports below bonds and VLANs.

    BIRD's sessions are in the VRF too, and what follows the kernel's routes. A revert leaves nothing of the VRF.
    """
    tests = ("tests/node/test_management.py", "tests/node/test_live.py", "tests/node/test_routing_live.py")
    said = _in_full_kernel(tmp_path / "out", *tests, "-k", "routed or in_use or a_vrf_is_refused or routing_live")
    assert "skipped" not in said
