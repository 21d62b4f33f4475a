"""Files that outlive a run: below ``/var/lib/rbops``, written whole or not at all."""

from __future__ import annotations

import fcntl
import filecmp
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import Locked, StateUnknown, Where

__all__ = [
    "State",
    "copy_tree",
    "read_json",
    "read_running",
    "same_file",
    "same_tree",
    "sweep_parts",
    "sync_folder",
    "sync_tree",
    "write_whole",
]

_PART = ".part."


@dataclass(frozen=True, slots=True)
class State:
    """The folder of rbops's own state on a server."""

    base: Path

    @property
    def snapshot(self) -> Path:
        """What was there before the running transaction; there exactly as long as it is not confirmed."""
        return self.base / "snapshot"

    @property
    def confirmed(self) -> Path:
        """The run that was confirmed last, and whose it was."""
        return self.base / "confirmed.json"

    @property
    def fresh(self) -> Path:
        """An earlier configuration on its way to /etc/rbops."""
        return self.base / "restored"

    @property
    def generations(self) -> Path:
        """The configurations that were confirmed last, a folder each."""
        return self.base / "generations"

    @property
    def undo(self) -> Path:
        """How every setting was before rbops first came."""
        return self.base / "undo.json"

    @property
    def applied(self) -> Path:
        """The node.json that was applied last."""
        return self.base / "applied.json"

    @property
    def drained(self) -> Path:
        """The servers that are left out as intermediates, and of how many servers."""
        return self.base / "drained.json"

    @property
    def held(self) -> Path:
        """What the open change leaves out of a cluster that gets another number of servers with it."""
        return self.base / "held.json"

    @property
    def routes(self) -> Path:
        """The fingerprint of the kernel's routes after they were last made equal to the table."""
        return self.base / "routes.json"

    @property
    def restored(self) -> Path:
        """What the watch put back after another program had taken it away."""
        return self.base / "restored.json"

    @property
    def services(self) -> Path:
        """How nft listed rbops's table after it was made last."""
        return self.base / "services.json"

    @property
    def refused(self) -> Path:
        """What drivers and kernel refused at the last apply, and why."""
        return self.base / "refused.json"

    @property
    def boot(self) -> Path:
        """The boot parameters that rbops planned here and that may still be active."""
        return self.base / "boot.json"

    @property
    def lock(self) -> Path:
        """The lock of this server: holder, run, since when."""
        return self.base / "lock.json"

    @contextmanager
    def exclusive(self, *, wait_s: float = 10) -> Iterator[None]:
        """One rbops-node at a time; Locked (7) when another one does not finish within ``wait_s``."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.base / ".busy", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + wait_s
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Locked(
                            "another rbops-node is running on this server",
                            code="node.busy",
                            hint="wait until it has ended",
                        ) from None
                    time.sleep(0.1)
                else:
                    break
            yield
        finally:
            os.close(handle)


def read_running(path: Path) -> dict[str, Any] | None:
    """What a process wrote of itself with its ``pid``; None where it does not run, or wrote nothing."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        os.kill(int(found["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A state file, None when it is not there. StateUnknown (6) when it cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateUnknown(
            f"cannot read the file: {error}",
            code="node.state-unreadable",
            where=Where(file=str(path)),
            hint="look at it and move it away",
        ) from error
    if not isinstance(value, dict):
        raise StateUnknown(
            "not a file that rbops-node wrote, expected a JSON object",
            code="node.state-invalid",
            where=Where(file=str(path)),
            hint="look at it and move it away",
        )
    return value


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step that survives a power cut; the old one stays whole when it fails.

    Writes nothing where the file has this content already: that works on a full disk too.
    """
    if _holds(path, data, mode):
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{_PART}{os.getpid()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _holds(path: Path, data: bytes, mode: int) -> bool:
    try:
        info = path.lstat()
        return stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == mode and path.read_bytes() == data
    except OSError:
        return False


def sweep_parts(folder: Path) -> None:
    """Remove what :func:`write_whole` left in a folder when it was killed; nobody else may be writing there."""
    for part in folder.glob(f".*{_PART}*"):
        part.unlink(missing_ok=True)


def copy_tree(source: Path, target: Path, leave_out: frozenset[str] = frozenset()) -> None:
    """Copy a folder with modes, symbolic links as such, and every byte on the disk at return; not ``leave_out``."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if f"{folder}/{name}" in leave_out}

    shutil.copytree(source, target, symlinks=True, copy_function=_copy, ignore=ignored)
    sync_tree(target)


def _copy(source: str, target: str) -> None:
    """A file with its mode, never readable by more than that, not for a moment: it may hold keys."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    shutil.copy2(source, target)


def same_file(one: Path, other: Path) -> bool:
    """Whether ``other`` is as ``one``, which is there: the same link, or a file of the same mode and content."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if not other.is_file():
        return False
    return one.stat().st_mode == other.stat().st_mode and filecmp.cmp(one, other, shallow=False)


def same_tree(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, links and folders, with the same modes."""
    mine, others = ({str(path.relative_to(top)): path for path in top.rglob("*")} for top in (one, other))
    return mine.keys() == others.keys() and all(_same_entry(mine[name], others[name]) for name in mine)


def _same_entry(one: Path, other: Path) -> bool:
    if one.is_dir() and not one.is_symlink():
        return other.is_dir() and not other.is_symlink() and one.stat().st_mode == other.stat().st_mode
    return same_file(one, other)


def sync_tree(target: Path) -> None:
    """Put every file and folder below ``target`` on the disk."""
    for folder, _, files in os.walk(target):
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        sync_folder(Path(folder))


def sync_folder(path: Path) -> None:
    """Put a folder's entries on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
