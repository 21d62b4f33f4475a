from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbops.lab.cgroup import Cgroup
from rbops.lab.status import init_of
from tests.system.driver import wait_for

pytestmark = pytest.mark.root


@contextmanager
def first_of_a_namespace() -> Iterator[int]:
    """A process that is pid 1 in a pid namespace of its own."""
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "60"]) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        try:
            wait_for("the process in the namespace", lambda: bool(children.read_text().split()), 10)
            yield int(children.read_text().split()[0])
        finally:
            outer.kill()


def test_init_is_found_among_children_with_smaller_numbers(tmp_path: Path) -> None:
    scope = tmp_path / "init.scope"
    scope.mkdir()
    with first_of_a_namespace() as init:
        (scope / "cgroup.procs").write_text(f"{os.getpid()}\n{init}\n")
        assert init_of(Cgroup(tmp_path)) == init
    (scope / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert init_of(Cgroup(tmp_path)) is None
