"""The tunnels' keys that a push installs on the servers: compared with what they have, without showing any.

They are in no rendered file. What a run keeps of them is a slow hash with a salt of its own (RFC 7914), by which
a rollback finds out whether the key files still hold what was confirmed then.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.dataplane.click.controller.files import ETC, KEYS
from rbops.errors import Mismatch, Where
from rbops.spec.keyfile import click_keys

__all__ = ["PATH", "Keys", "keys_of", "keys_of_project"]

PATH = f"{ETC}/{KEYS}"
"""The file on every server, root's with mode 0600."""

_RECORD = "keys.json"
_MODE = "0o600"
_COST = 1 << 14
_MEMORY = 64 << 20


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

    def remember(self, folder: Path) -> None:
        """Write what identifies these keys into the folder of a run."""
        if self.files:
            salt = os.urandom(16)
            record = {"salt": salt.hex(), "scrypt": self._mark(salt)}
            handle = os.open(folder / _RECORD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                json.dump(record, file)

    def check_same(self, folder: Path) -> None:
        """Mismatch (3) unless these are the keys that the run in ``folder`` pushed."""
        if not self.files:
            return
        try:
            record = json.loads((folder / _RECORD).read_text(encoding="ascii"))
            same = hmac.compare_digest(self._mark(bytes.fromhex(record["salt"])), record["scrypt"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Mismatch(
                f"cannot compare the key files with those of run {folder.name}: {error}",
                code="keys.no-record",
                where=Where(file=str(folder / _RECORD)),
                hint="`rbops apply` with the earlier spec goes back too",
            ) from error
        if not same:
            raise Mismatch(
                f"the keys are not those that run {folder.name} pushed: {', '.join(self.files)}",
                code="keys.changed",
                hint="write the earlier keys into them, or `rbops apply` the earlier spec with a new spi for these",
            )

    def _mark(self, salt: bytes) -> str:
        return hashlib.scrypt(self._content, salt=salt, n=_COST, r=8, p=1, maxmem=_MEMORY).hex()


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
