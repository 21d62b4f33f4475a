"""A cgroup for every server of a lab: its processes are the lab's, and can be ended without knowing any pid.

Uses the kernel's cgroup v2 hierarchy (Documentation/admin-guide/cgroup-v2.rst) wherever it is mounted,
``cgroup.kill`` (Linux 5.14) to end everything in a subtree at once. systemd-nspawn mirrors the tree into
the v1 hierarchy ``name=systemd`` where the host has that; it is removed as well.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rbops.errors import Mismatch, StateUnknown
from rbops.lab.interrupts import uninterrupted

__all__ = ["Cgroup", "hierarchy", "lab_cgroup", "remove_empty_parent"]

_WAIT_S = 60.0
"""Processes with namespaces and XDP programs of their own take time to end, on a busy machine most of all."""


class Cgroup:
    """One cgroup, existing or not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def child(self, name: str) -> Cgroup:
        """The cgroup ``name`` below this one."""
        return Cgroup(self.path / name)

    def create(self) -> None:
        """Make it and its parents. Raises Mismatch when the kernel is too old."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "cgroup.kill").exists():
            raise Mismatch(
                "this kernel's cgroups have no cgroup.kill, a lab needs Linux 5.14 or newer", code="lab.cgroup-kill"
            )

    def start(self, command: Sequence[str], output: IO[bytes]) -> None:
        """Start ``command`` in it as a daemon: it is in the cgroup before this returns.

        It gets every signal's default, also those that this process was started to ignore.
        Raises CalledProcessError when the cgroup is gone.
        """
        join = 'echo 0 >"$1" && shift && exec setsid --fork env --default-signal "$@"'
        args = ["sh", "-c", join, "sh", str(self.path / "cgroup.procs"), *command]
        with uninterrupted():
            subprocess.run(args, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True)

    def pids(self) -> list[int]:
        """Processes in the cgroup itself, not below it; empty when it does not exist."""
        try:
            return [int(line) for line in (self.path / "cgroup.procs").read_text(encoding="ascii").split()]
        except (FileNotFoundError, OSError):
            return []

    def populated(self) -> bool:
        """Whether a process lives in it or below."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text(encoding="ascii")
        except OSError:  # it was removed, perhaps while being read
            return False

    def kill(self) -> None:
        """SIGKILL everything in it and below, and wait until it is gone.

        Raises StateUnknown when processes survive that for a minute (they hang in the kernel).
        """
        if not self.populated():
            return
        (self.path / "cgroup.kill").write_text("1", encoding="ascii")
        deadline = time.monotonic() + _WAIT_S
        while self.populated():
            if time.monotonic() > deadline:
                pids = [pid for path in self.path.rglob("cgroup.procs") for pid in Cgroup(path.parent).pids()]
                raise StateUnknown(f"processes in {self.path} survive SIGKILL: {pids}", code="lab.processes")
            time.sleep(0.01)

    def remove(self) -> None:
        """Remove it with all below, also in systemd's v1 mirror; nothing may live in it."""
        for root in _mirrors(self.path):
            folders = [folder for folder in root.rglob("*") if folder.is_dir()] if root.exists() else []
            for folder in [*sorted(folders, key=lambda item: len(item.parts), reverse=True), root]:
                _rmdir(folder)


def lab_cgroup(lab: str) -> Cgroup:
    """The cgroup that holds the servers of a lab; Mismatch as :func:`hierarchy`."""
    return Cgroup(hierarchy() / "rbops" / lab)


def hierarchy() -> Path:
    """Where cgroup v2 is mounted; Mismatch when it is not."""
    for path, kind, _options in _mounts():
        if kind == "cgroup2":
            return path
    raise Mismatch(
        "cgroup v2 is not mounted on this machine, a lab needs it",
        code="lab.cgroup-v2",
        hint="mount -t cgroup2 none /sys/fs/cgroup",
    )


def remove_empty_parent(cgroup: Cgroup) -> None:
    """Remove the folder of all labs when ``cgroup`` was the last one."""
    for root in _mirrors(cgroup.path.parent):
        _rmdir(root)


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # in use by another lab, or gone
        return


def _mirrors(path: Path) -> list[Path]:
    found = [path]
    unified = next(mount for mount, kind, _options in _mounts() if kind == "cgroup2")
    for mount, kind, options in _mounts():
        if kind == "cgroup" and "name=systemd" in options.split(","):
            found.append(mount / path.relative_to(unified))
    return found


def _mounts() -> list[tuple[Path, str, str]]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [(Path(fields[1]), fields[2], fields[3]) for fields in (line.split() for line in lines)]
