"""Locks on folders (flock), which the kernel releases however their holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbops.errors import Locked

__all__ = ["locked", "try_locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for it; makes the folder (0700) if need be."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder that exists, or raise Locked naming ``what`` and the holder.

    Raises FileNotFoundError when the folder is not there (any more).
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"{what} is locked by another rbops{_holder(descriptor)}", code="lab.locked") from error
        if os.fstat(descriptor).st_nlink == 0:
            raise FileNotFoundError(folder)  # removed between open and lock
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who holds the lock, from /proc/locks: `` (process 123: rbops lab up ...)``, or nothing."""
    status = os.fstat(descriptor)
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if inode in fields and "FLOCK" in fields and "->" not in fields:
            pid = fields[fields.index(inode) - 1]
            try:
                command = (
                    Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
            except OSError:  # it has just ended
                return ""
            return f" (process {pid}: {command})"
    return ""
