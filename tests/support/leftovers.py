"""What tests could leave on the machine: namespaces, mounts, processes, bridges, lab folders.

Only what the tests made counts, whatever else happens on the machine meanwhile. Processes bear a mark in their
environment, which children inherit. Labs of tests are called ``rbt-...``, their other network namespaces ``rb...``.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["LAB_PREFIX", "left", "mark", "snapshot"]

LAB_PREFIX = "rbt-"
"""The names of all labs that tests make begin with it."""

_STATE = Path("/var/lib/rbops/labs")
_MARK = "RBOPS_TEST_RUN"
_GRACE_S = 3.0


def mark() -> None:
    """From now on this process's children bear the mark of this run."""
    os.environ[_MARK] = f"{os.getpid()}.{time.time_ns()}"


def left(before: frozenset[str]) -> list[str]:
    """What there is now beyond ``before``; what is about to end may take some seconds."""
    deadline = time.monotonic() + _GRACE_S
    while found := snapshot() - before:
        if time.monotonic() > deadline:
            return sorted(item for item in found if item.startswith("process ") or not _others())
        time.sleep(0.1)
    return []


def _others() -> bool:
    """Whether another run of the tests is at work: whose namespaces, mounts and labs there are is not known then."""
    own, head = os.environ.get(_MARK, "").encode(), f"{_MARK}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for word in (folder / "environ").read_bytes().split(b"\0"):
                if word.startswith(head) and word != head + own:
                    return True
    return False


def snapshot() -> frozenset[str]:
    """Every trace of the tests there is now, as text to be compared and shown."""
    return frozenset([*_namespaces(), *_mounts(), *_processes(), *_bridges(), *_labs()])


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, PermissionError):  # root's, where the tests run as somebody else
        return []


def _namespaces() -> list[str]:
    names = [path.name for path in _children(Path("/run/netns")) if path.name.startswith("rb")]
    return [f"network namespace {name}" for name in names if _of_tests(name.removeprefix("rbops-"), name)]


def _of_tests(lab: str, name: str) -> bool:
    """Not of a lab that somebody else made."""
    return lab == name or lab.startswith(LAB_PREFIX)


def _mounts() -> list[str]:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [
        f"mount {point}" for point in points if "rbops" in point and _of_tests(point.removeprefix(f"{_STATE}/"), point)
    ]


def _processes() -> list[str]:
    found = []
    wanted = f"{_MARK}={os.environ.get(_MARK, '')}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it has ended, or is not ours to look at
            continue
        if state != "Z":  # otherwise it has ended, and its parent has not read the exit code yet
            found.append(f"process {folder.name}: {command}")
    return found


def _bridges() -> list[str]:
    names = {path.parent.name for path in Path("/sys/class/net").glob("rbops-br*/bridge")}
    return [f"bridge {name}" for name in names - {_bridge(path) for path in _children(_STATE)}]


def _bridge(lab: Path) -> str | None:
    """The bridge of a lab that somebody else made."""
    if lab.name.startswith(LAB_PREFIX):
        return None
    try:
        return f"rbops-br{json.loads((lab / 'lab.json').read_text(encoding='utf-8'))['subnet']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is being made or removed
        return None


def _labs() -> list[str]:
    return [f"lab {path}" for path in _children(_STATE) if path.name.startswith(LAB_PREFIX)]
