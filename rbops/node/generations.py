"""The configurations that were confirmed last on this server: what ``rbops history`` shows and ``rollback`` restores.

A generation is a folder: ``etc`` is /etc/rbops, ``installed`` what starts it, ``manifest.json`` who confirmed it, when
and why. Files that two generations share are one file with several links. Keys are in none: a generation has a slow
hash of them (RFC 7914), by which a rollback finds out whether the server still has those that were confirmed with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.common.daemons import PROGRAMS
from rbops.dataplane import registry
from rbops.errors import Mismatch, Where
from rbops.node.installed import Installed
from rbops.node.state import State, copy_tree, read_json, same_file, sync_folder, sync_tree, write_whole

__all__ = ["KEPT", "Generation", "Generations"]

KEPT = 10
"""Generations on a server; older ones go."""

_MANIFEST = "manifest.json"
_COST = 1 << 14
_MEMORY = 64 << 20
_NAME = re.compile(r"[0-9]{6}")
_PASSWORDS = tuple(program.keys.removeprefix("/etc/rbops/") for program in PROGRAMS.values())
"""Of routing daemons' sessions and of IKE, below /etc/rbops."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One confirmed configuration: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def etc(self) -> Path:
        """What /etc/rbops was, without keys."""
        return self.folder / "etc"

    @property
    def installed(self) -> Path:
        """What was installed beside it."""
        return self.folder / "installed"

    def to_json(self) -> dict[str, Any]:
        """Number, run, plan's digest, operator, seconds since the epoch, reason."""
        names = ("number", "run", "cluster", "server", "digest", "holder", "confirmed", "reason")
        return {name: self.manifest[name] for name in names}


@dataclass(frozen=True, slots=True)
class Generations:
    """Those of one server, oldest first."""

    state: State
    etc: Path
    installed: Installed | None = None

    def all(self) -> list[Generation]:
        """What there is; a folder without a manifest is none."""
        base = self.state.generations
        folders = sorted(path for path in base.iterdir() if _NAME.fullmatch(path.name)) if base.is_dir() else []
        found = ((folder, read_json(folder / _MANIFEST)) for folder in folders)
        return [Generation(folder, manifest) for folder, manifest in found if manifest is not None]

    def find(self, number: int) -> Generation:
        """The generation ``number``. Mismatch (3) when it is not kept."""
        for generation in self.all():
            if generation.manifest["number"] == number:
                return generation
        raise Mismatch(
            f"generation {number} is not kept on this server",
            code="node.no-generation",
            where=Where(file=str(self.state.generations)),
            hint="`rbops history` shows those that are",
        )

    def keep(self, run: str, holder: str, reason: str) -> int | None:
        """Keep the present configuration as the newest; None where it is the newest already. OSError when it cannot."""
        before = self.all()
        number = before[-1].manifest["number"] + 1 if before else 1
        part = self.state.generations / ".part"
        shutil.rmtree(part, ignore_errors=True)
        self.state.generations.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.mkdir(mode=0o700)
        try:
            self._fill(part)
            if before and _share(part, before[-1].folder):
                self._renew_secrets(before[-1])
                return None
            node = json.loads((part / "etc" / "node.json").read_text(encoding="utf-8"))
            own = {name: node[name] for name in ("cluster", "server", "digest")}
            said = {"number": number, "run": run, "holder": holder, "confirmed": time.time(), "reason": reason}
            manifest = {"schema_version": 1, **own, **said, "secrets": self._secrets()}
            write_whole(part / _MANIFEST, json.dumps(manifest).encode())
            sync_tree(part)
            part.rename(self.state.generations / f"{number:06}")
            sync_folder(self.state.generations)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        for old in self.all()[:-KEPT]:
            shutil.rmtree(old.folder, ignore_errors=True)
        return number

    def tree(self, generation: Generation, target: Path) -> None:
        """Copy its /etc/rbops to ``target``, with the present keys. Mismatch (3) when those are others than then."""
        secrets = {name: self._kept(generation, name, mark) for name, mark in generation.manifest["secrets"].items()}
        copy_tree(generation.etc, target)
        for name, content in secrets.items():
            (target / name).parent.mkdir(mode=0o755, exist_ok=True)
            write_whole(target / name, content)

    def _kept(self, generation: Generation, name: str, mark: Mapping[str, str]) -> bytes:
        """The secrets of a generation as they still are here; Mismatch (3) where they are not.

        Routing daemons have theirs in the same form: another one's are looked at too.
        """
        for path in (self.etc / each for each in (_PASSWORDS if name in _PASSWORDS else (name,))):
            content = path.read_bytes() if path.is_file() else b""
            if hmac.compare_digest(_mark(content, bytes.fromhex(mark["salt"])), mark["scrypt"]):
                return content
        raise Mismatch(
            f"the keys are not those that generation {generation.manifest['number']} was confirmed with",
            code="node.keys-changed",
            where=Where(file=str(self.etc / name)),
            hint="write the earlier keys into the key files and `rbops apply` the earlier spec",
        )

    def _fill(self, part: Path) -> None:
        copy_tree(self.etc, part / "etc", leave_out=frozenset(str(self.etc / name) for name in _secret_names()))
        (part / "installed").mkdir(mode=0o700)
        if self.installed:
            self.installed.save(part / "installed")

    def _renew_secrets(self, newest: Generation) -> None:
        """Other keys alone make no generation: a rollback goes to the plan before."""
        secrets = self._secrets()
        if secrets or newest.manifest["secrets"]:
            write_whole(newest.folder / _MANIFEST, json.dumps({**newest.manifest, "secrets": secrets}).encode())

    def _secrets(self) -> dict[str, dict[str, str]]:
        found = {}
        for name in _secret_names():
            path = self.etc / name
            if path.is_file():
                salt = os.urandom(16)
                found[name] = {"salt": salt.hex(), "scrypt": _mark(path.read_bytes(), salt)}
        return found


def _secret_names() -> Iterator[str]:
    yield from _PASSWORDS
    yield from (name for plane in registry.node_halves() for name in plane.secrets)


def _mark(content: bytes, salt: bytes) -> str:
    return hashlib.scrypt(content, salt=salt, n=_COST, r=8, p=1, maxmem=_MEMORY).hex()


def _files(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path
        for top in ("etc", "installed")
        for path in (folder / top).rglob("*")
        if path.is_symlink() or path.is_file()
    }


def _share(part: Path, before: Path) -> bool:
    """Replace files that the generation before has too by links to those: tables of routes are large.

    Whether that were all files of both.
    """
    mine, others = _files(part), _files(before)
    equal = {name for name, path in mine.items() if name in others and same_file(path, others[name])}
    for name in equal:
        if not mine[name].is_symlink():
            link = mine[name].with_name(f".{mine[name].name}.link")
            os.link(others[name], link)
            link.replace(mine[name])
    return equal == mine.keys() == others.keys()
