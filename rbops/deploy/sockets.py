"""Folders for OpenSSH's shared connections."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["SocketsFolder"]

_PREFIX = "rbops-ssh-"
_LONGEST = 107
_NAME = 1 + 10 + 1 + 16
"""Ansible's hash of the connection, and what ssh appends while it makes the socket."""
_LOCK = ".lock"
_YOUNG_S = 60.0


class SocketsFolder:
    """A fresh private folder, ``path``; those of processes that were killed are removed.

    Not in a run's folder, nor below a long TMPDIR: a socket's path has at most 107 bytes (unix(7)). A lock says that
    it is in use: process ids would not, where several pid namespaces share /tmp.
    """

    __slots__ = ("_lock", "path")

    def __init__(self) -> None:
        long = len(tempfile.gettempdir()) + len(f"/{_PREFIX}12345678") + _NAME > _LONGEST
        base = "/tmp" if long else tempfile.gettempdir()  # noqa: S108 - mkdtemp makes it ours
        for path in Path(base).glob(f"{_PREFIX}*"):
            if _abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def sockets(self) -> list[Path]:
        """The sockets in it."""
        return [path for path in self.path.iterdir() if path.is_socket()]

    def close(self) -> None:
        """Remove it with what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _abandoned(folder: Path) -> bool:
    """Whether it is ours and nobody holds its lock; a young one may not have it yet."""
    try:
        found = folder.lstat()
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG_S:
            return False
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # another rbops removed it
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)
