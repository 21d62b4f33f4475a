"""What the suite promises about itself: it ends whatever started it, and blames only what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.system.driver import wait_for

CHECKOUT = Path(__file__).resolve().parents[2]


def test_signals_that_were_ignored_at_the_start_do_not_hang_it() -> None:
    """A script's `make test &` ignores SIGINT, nohup SIGHUP; these tests send both to a child."""
    tests = ["-q", "-p", "no:cacheprovider", "tests/cli/test_app.py", "-k", "interrupted"]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT HUP TERM; exec "$@"', "sh", sys.executable, "-m", "pytest", *tests],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_every_test_has_a_time_limit(request: pytest.FixtureRequest) -> None:
    limits = {item.nodeid: item.get_closest_marker("timeout") for item in request.session.items}
    assert float(request.config.getini("timeout")) > 0
    assert [name for name, marker in limits.items() if marker is not None and not marker.args[0] > 0] == []


def test_a_process_that_stays_is_found() -> None:
    before = leftovers.snapshot()
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            # A child that was just started may not have its environment yet.
            wait_for("the process", lambda: f"process {process.pid}: sleep 600" in leftovers.snapshot() - before, 10)
        finally:
            process.kill()


def test_a_process_of_somebody_else_is_not() -> None:
    before = leftovers.snapshot()
    with subprocess.Popen(["sleep", "601"], env={"PATH": os.environ["PATH"]}) as process:
        other = leftovers.snapshot() - before
        process.kill()
    assert not any("sleep 601" in line for line in other)


def test_labs_of_tests_are_told_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_STATE", tmp_path)
    for name in ("rbt-x", "rb4"):
        (tmp_path / name).mkdir()
    assert [item for item in leftovers.snapshot() if str(tmp_path) in item] == [f"lab {tmp_path}/rbt-x"]


@pytest.mark.root
def test_an_ordinary_user_is_not_stopped_by_labs_of_root(tmp_path: Path) -> None:
    (tmp_path / "labs").mkdir(mode=0o700)
    code = Path(leftovers.__file__).read_text(encoding="utf-8")
    code += f"\n_STATE = Path({str(tmp_path / 'labs')!r})\nprint([item for item in snapshot() if 'lab ' in item])"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
