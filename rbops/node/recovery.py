"""Undoes an open change at boot where rbops.service is not there to do it: before a first apply, after a remove.

A unit of its own, enabled for as long as such a change is open. It runs the program in the snapshot; where no change is
open any more, because the power went at its very end, it removes itself.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from rbops.node.state import write_whole

__all__ = ["PATHS", "enabled", "forget", "left", "prepare"]

_UNIT = "rbops-recovery.service"
_FOLDER = "etc/systemd/system"
_WANTS = f"{_FOLDER}/multi-user.target.wants"
PATHS = (f"{_FOLDER}/{_UNIT}", f"{_WANTS}/{_UNIT}")
"""Its files below the root: the unit, and the link that enables it."""

_TEXT = """\
[Unit]
Description=rbops: undo the change that this boot interrupted
# Where it is still there it does the same.
ConditionPathExists=!/{wants}/rbops.service
Wants=network.target
After=network.target systemd-udevd.service systemd-sysctl.service systemd-modules-load.service
After=systemd-networkd.service NetworkManager.service cloud-init.service tuned.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'if [ -e {snapshot}/manifest.json ]; then exec {command}; else exec rm -f {files}; fi'
Restart=on-failure
RestartSec=10s

[Install]
WantedBy=multi-user.target
"""


def prepare(root: Path, snapshot: Path, command: tuple[str, ...]) -> None:
    """Enable the unit: at boot it runs ``command`` if ``snapshot`` is there. OSError where that cannot be written."""
    files = " ".join(str(root / path) for path in PATHS)
    text = _TEXT.format(wants=_WANTS, snapshot=snapshot, command=shlex.join(command), files=files)
    unit, link = (root / path for path in PATHS)
    write_whole(unit, text.encode(), 0o644)
    if not os.path.lexists(link):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../{_UNIT}")


def enabled(root: Path) -> bool:
    """Whether it runs at the next boot."""
    return all(os.path.lexists(root / path) for path in PATHS)


def forget(root: Path) -> None:
    """Remove it, and what a :func:`prepare` that was killed left of it.

    On a read-only disk it stays, does nothing while no change is open, and goes with the next run (:func:`left`).
    """
    parts = (root / _FOLDER).glob(f".{_UNIT}.*")
    for path in (*(root / path for path in reversed(PATHS)), *parts):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def left(root: Path) -> list[str]:
    """Those of its files that are there."""
    return [f"/{path}" for path in PATHS if os.path.lexists(root / path)]
