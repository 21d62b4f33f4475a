"""The tunnels' keys that a push installs on the servers: compared with what they have, without showing any."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.dataplane.click.controller.files import ETC, KEYS
from rbops.spec.keyfile import click_keys

__all__ = ["PATH", "Keys", "keys_of", "keys_of_project"]

PATH = f"{ETC}/{KEYS}"
"""The file on every server, root's with mode 0600."""

_MODE = "0o600"


@dataclass(frozen=True, slots=True)
class Keys:
    """The content of :data:`PATH` for a plan's tunnels; ``files`` are their key files, none without tunnels."""

    files: tuple[str, ...]
    _content: bytes = field(repr=False)

    def difference(self, found: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
        """What a server has and what is expected, as text; ``found`` maps its files to (mode, SHA-256)."""
        mode, digest = found.get(PATH, ("", ""))
        if not self.files:
            return ("keys of no tunnel", "absent") if digest else None
        want = f"the keys in {', '.join(self.files)}"
        if not digest:
            return "absent", want
        if not hmac.compare_digest(digest, hashlib.sha256(self._content).hexdigest()):
            return "other keys", want
        return None if mode == _MODE else (f"mode {mode}", f"mode {_MODE}")


def keys_of(files: Iterable[str]) -> Keys:
    """The keys of tunnels in the order of their key files. Mismatch (3) for a file that cannot be used."""
    names = tuple(files)
    return Keys(names, click_keys(names))


def keys_of_project(project: Path) -> Keys:
    """The keys that rendered files ask for: the same on every server."""
    for path in sorted(project.glob("hosts/*/etc/rbops/node.json")):
        plane: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["dataplane"]
        return keys_of(plane.get("ipsec_keys", ()))
    return keys_of(())
