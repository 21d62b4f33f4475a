"""What BIRD and FRR have in common: each runs as a user of its own, and reads copies that this user alone can read."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from rbops.common.daemons import PROGRAMS
from rbops.errors import CheckFailed, Mismatch
from rbops.node.state import write_whole

__all__ = ["not_installed", "owner", "put", "silent"]


def owner(user: str, daemon: str) -> tuple[int, int]:
    """The ids of its user and group; Mismatch (3) where the daemon's package has not made them."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise not_installed(daemon) from None
    return found.pw_uid, found.pw_gid


def put(path: Path, data: bytes, ids: tuple[int, int]) -> None:
    """Write a file for the daemon's user."""
    write_whole(path, data, 0o400)
    os.chown(path, *ids)


def not_installed(daemon: str) -> Mismatch:
    """Its package is not there."""
    package = PROGRAMS[daemon].packages[0]
    return Mismatch(f"{daemon} is not installed", code="node.not-installed", hint=f"apt-get install {package}")


def silent(daemon: str, reason: str) -> CheckFailed:
    """It was asked, and gave no answer."""
    return CheckFailed(
        f"{daemon} does not answer: {reason}",
        code="node.daemon-silent",
        hint=f"look at `journalctl -u {PROGRAMS[daemon].unit}`",
    )
