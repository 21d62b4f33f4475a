"""The files that node.json counts on: whole, and of the same plan."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting

__all__ = ["planned_files"]


def planned_files(config: NodeConfig) -> list[Setting]:
    """SHA-256 of each file as it is and as planned. Pushing files is not this program's work: no actions."""
    wanted = {config.routes.file: config.routes.sha256}
    wanted |= {file.path: file.sha256 for file in config.dataplane.files}
    return [Setting(f"file {path}", "sha256", _digest(Path(path)), digest) for path, digest in wanted.items()]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        return f"unreadable ({error.strerror})"
