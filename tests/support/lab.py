"""Labs for tests of any room: made when first asked for, always taken down.

In a room's conftest.py: ``from tests.support.lab import make_lab`` (with ``__all__``, so that it counts as used);
in a test, marked ``lab``: ``lab = make_lab(plan, "rbt-apply")``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from rbops.lab.model import Lab
from rbops.lab.providers import load, provider
from rbops.lab.registry import every_lab
from rbops.lab.releases import Releases
from rbops.plan import ClusterPlan
from tests.support.leftovers import LAB_PREFIX

__all__ = ["MakeLab", "give_back", "make_lab"]

MakeLab = Callable[..., Lab]

_GIVE_BACK = """\
lock=/var/lib/rbops/lock.json
test -e $lock || exit 0
run=$(python3 -c "import json; print(json.load(open('$lock'))['run'])")
rbops-node revert --run "$run" --unlock
rbops-node unlock --run "$run"
"""
_LONGEST_S = 30
_SUPERVISOR, _WORKER = b"rbops.lab.supervisor", "PYTEST_XDIST_WORKER"


def give_back() -> None:
    """Undo the change that is open on a server of any lab of this worker's tests, and free its lock.

    A test that failed in the middle of a run would otherwise fail all tests after it that share the lab. Servers that
    do not answer stay as they are.
    """
    own = _own_labs()
    for known in every_lab():
        if known.state != "up" or known.name not in own:
            continue
        lab = load(known.name)
        for server in lab.servers:
            command = lab.command(server.name, ("sh", "-c", _GIVE_BACK))
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONGEST_S)


def _own_labs() -> frozenset[str]:
    """The labs whose supervisors this worker started, or a command that it ran: not those of xdist's others."""
    mark = f"{_WORKER}={os.environ.get(_WORKER, '')}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
            if _SUPERVISOR in words and (mark in environment or _WORKER not in os.environ):
                found.add(words[words.index(_SUPERVISOR) + 1].decode())
    return frozenset(name for name in found if name.startswith(LAB_PREFIX))


@pytest.fixture(scope="package")
def make_lab() -> Iterator[MakeLab]:
    """``make_lab(plan, name)``: the lab of that name, up; the same one again for the same plan.
    ``releases``: as for ``up``. Labs go with their room.

    What a run that was killed left under the name is removed first. Tests that break a lab mend it
    (``lab.restart``) or ask for one of their own name.
    """
    made: dict[str, Lab] = {}
    with ExitStack() as stack:

        def make(plan: ClusterPlan, name: str, releases: Releases | None = None) -> Lab:
            assert name.startswith(LAB_PREFIX), "otherwise it would not be found when it is left behind"
            if name in made and made[name].manifest.plan_digest == plan.digest:
                return made[name]
            nspawn = provider("nspawn")
            nspawn.down(name)
            stack.callback(nspawn.down, name)
            made[name] = nspawn.up(plan, name, releases=releases)
            return made[name]

        yield make
