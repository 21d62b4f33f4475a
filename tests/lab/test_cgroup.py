"""What runs in a lab's cgroups."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.lab.cgroup import Cgroup, lab_cgroup, remove_empty_parent

pytestmark = pytest.mark.root

START = """
import sys
from pathlib import Path
from rbops.lab.cgroup import Cgroup
with Path("/dev/null").open("wb") as output:
    Cgroup(Path(sys.argv[1])).start(["sleep", "600"], output)
"""


@pytest.fixture
def group() -> Iterator[Cgroup]:
    found = lab_cgroup("rbt-cgroup")
    found.create()
    yield found
    found.kill()
    found.remove()
    remove_empty_parent(found)


def test_a_daemon_hears_signals_that_rbops_was_started_to_ignore(group: Cgroup) -> None:
    command = [sys.executable, "-c", START, str(group.path)]
    subprocess.run(["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh", *command], check=True)
    (pid,) = group.pids()
    while Path("/proc", str(pid), "comm").read_text(encoding="ascii") != "sleep\n":  # it is still on its way
        time.sleep(0.01)
    status = Path("/proc", str(pid), "status").read_text(encoding="ascii")
    ignored = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:"))
    assert ignored & (1 << 0 | 1 << 1) == 0, "HUP and INT"
