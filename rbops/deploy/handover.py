"""A secret for a child process: never on a command line, in an environment, or in a file on a disk.

It lies in anonymous memory of this process (memfd_create(2)) that only this user can open, and is gone with it. The
child gets the path of a script that prints it, as ``SSH_ASKPASS`` and Ansible's vault passwords take one.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Handover"]


class Handover:
    """``script`` prints ``secret`` as long as this is open and this process lives."""

    __slots__ = ("_memory", "script")

    def __init__(self, secret: str, script: Path) -> None:
        self._memory = os.memfd_create("rbops", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._memory), "wb") as file:
            file.write(secret.encode() + b"\n")
        self.script = script
        handle = os.open(script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec cat /proc/{os.getpid()}/fd/{self._memory}\n")

    def close(self) -> None:
        """Forget the secret; the script prints nothing then."""
        os.close(self._memory)
        self.script.unlink(missing_ok=True)
