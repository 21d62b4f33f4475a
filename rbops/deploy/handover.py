"""A secret for a child process: never on a command line, in an environment, or in a file on a disk.

It lies in anonymous memory of this process (memfd_create(2)) that only this user can open, and is gone with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

__all__ = ["Handover"]


class Handover:
    """``path`` is a file with the secret as long as this is open and this process lives; a context manager."""

    __slots__ = ("_memory", "_scripts", "path")

    def __init__(self, secret: str) -> None:
        self._memory = os.memfd_create("rbops", os.MFD_CLOEXEC)
        os.fchmod(self._memory, 0o600)
        os.write(self._memory, secret.encode() + b"\n")
        self._scripts: list[Path] = []
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._memory}")

    def script(self, path: Path) -> Path:
        """A program at ``path`` that prints the secret, as ``SSH_ASKPASS`` wants one."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec cat {self.path}\n")
        self._scripts.append(path)
        return path

    def close(self) -> None:
        """Forget the secret, and remove the programs."""
        for script in self._scripts:
            script.unlink(missing_ok=True)
        os.close(self._memory)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
