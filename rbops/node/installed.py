"""rbops's files besides /etc/rbops: this program and its systemd units, saved and restored."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rbops.common.daemons import UNITS as DAEMONS
from rbops.dataplane import registry
from rbops.node.state import same_file
from rbops.node.system import System

__all__ = ["PATHS", "Installed"]

_UNITS = (
    "rbops.service",
    "rbops-watch.service",
    "rbops-fib.service",
    *DAEMONS,
    "rbops-exporter.service",
    "rbops-sflow.service",
)
_SYSTEMD = "etc/systemd/system"
_RUNNING = ("rbops-watch.service", "rbops-fib.service", "rbops-exporter.service", "rbops-sflow.service")
_STARTED_BY = tuple(path for plane in registry.node_halves() for path in plane.started_by)
PATHS = (
    "usr/sbin/rbops-node",
    *_STARTED_BY,
    *(f"{_SYSTEMD}/{unit}" for unit in _UNITS),
    *(f"{_SYSTEMD}/multi-user.target.wants/{unit}" for unit in _UNITS),
)
"""Below the root, of every data plane."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The installed files below ``root``; a unit is enabled exactly when its link is there."""

    system: System
    root: Path = Path("/")

    def starts_at_boot(self) -> bool:
        """Whether this program puts the server back at boot."""
        unit, link = (f"{_SYSTEMD}/{folder}{_UNITS[0]}" for folder in ("", "multi-user.target.wants/"))
        return all(os.path.lexists(self.root / name) for name in (PATHS[0], unit, link))

    def save(self, folder: Path) -> None:
        """Copy what there is, links as links, into ``folder``."""
        for name in PATHS:
            source = self.root / name
            if os.path.lexists(source):
                target = folder / name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)

    def pause(self) -> None:
        """Stop what watches links and routes: what it works on is about to change under it."""
        self.system.run(("systemctl", "stop", *_RUNNING))

    def stop(self) -> None:
        """Stop what is to go: without its file a unit stays active in systemd's memory."""
        self.system.run(("systemctl", "stop", *_UNITS))

    def put_back_planes(self, folder: Path) -> None:
        """What an earlier data plane was started by, before the kernel's part of a revert starts it.

        What was not there goes with the rest in :meth:`put_back`, when nothing runs by it any more.
        """
        saved = [name for name in _STARTED_BY if os.path.lexists(folder / name)]
        changed = [name for name in saved if self._restore(folder / name, self.root / name)]
        if changed:
            self.system.run(("systemctl", "daemon-reload"))

    def put_back(self, folder: Path) -> None:
        """Make the files what :meth:`save` found, absent ones included, and start what was enabled."""
        for daemon in DAEMONS:
            unit = f"{_SYSTEMD}/{daemon}"
            if os.path.lexists(self.root / unit) and not os.path.lexists(folder / unit):
                self.system.run(("systemctl", "stop", daemon))
        changed = [name for name in PATHS if self._restore(folder / name, self.root / name)]
        if any(name.startswith(_SYSTEMD) for name in changed):
            self.system.run(("systemctl", "daemon-reload"))
        enabled = [unit for unit in _RUNNING if os.path.lexists(folder / _SYSTEMD / "multi-user.target.wants" / unit)]
        if enabled:
            # Not to be waited for: at boot this runs inside a unit that they are ordered after.
            self.system.run(("systemctl", "restart", "--no-block", *enabled))
        for daemon in DAEMONS:
            if os.path.lexists(folder / _SYSTEMD / "multi-user.target.wants" / daemon):
                # Its sessions live on where it reads its files again.
                self.system.run(("systemctl", "reload-or-restart", "--no-block", daemon))

    def _restore(self, saved: Path, target: Path) -> bool:
        if not os.path.lexists(saved):
            there = os.path.lexists(target)
            if there:  # a file system that turned read-only refuses even to remove what is not
                target.unlink(missing_ok=True)
            return there
        if same_file(saved, target):
            return False
        part = target.with_name(f".{target.name}.restored")
        part.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(saved, part)
        part.replace(target)
        return True


def _link_or_copy(saved: Path, part: Path) -> None:
    """A second link needs no room on a full disk; another file system cannot have one."""
    try:
        part.hardlink_to(saved)
    except OSError:
        shutil.copy2(saved, part, follow_symlinks=False)
