"""Folders for OpenSSH's shared connections."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["remove", "sockets_folder"]

_PREFIX = "rbops-ssh-"
_LONGEST = 107
_NAME = 1 + 10 + 1 + 16
"""Ansible's hash of the connection, and what ssh appends while it makes the socket."""


def sockets_folder() -> Path:
    """A fresh private folder; those of processes that were killed are removed.

    Not in a run's folder, nor below a long TMPDIR: a socket's path has at most 107 bytes (unix(7)).
    """
    name = f"{_PREFIX}{os.getpid()}-"
    long = len(tempfile.gettempdir()) + len(f"/{name}12345678") + _NAME > _LONGEST
    base = "/tmp" if long else tempfile.gettempdir()  # noqa: S108 - mkdtemp makes it ours
    for path in Path(base).glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists() and _ours(path):
            remove(path)
    return Path(tempfile.mkdtemp(prefix=name, dir=base))


def _ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except FileNotFoundError:  # another rbops removed it
        return False


def remove(folder: Path) -> None:
    """Remove such a folder with what is in it."""
    shutil.rmtree(folder, ignore_errors=True)
