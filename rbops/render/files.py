"""Rendered files as values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

__all__ = ["File", "Rendered"]


@dataclass(frozen=True, slots=True)
class File:
    """``path`` is absolute on a server, or relative to the output folder; ``mode`` permission bits."""

    path: str
    content: bytes
    mode: int = 0o644

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Rendered:
    """Everything that a plan becomes.

    ``top`` is written to the output folder as it is, ``common`` goes to every server, ``hosts`` to one each.
    """

    digest: str
    top: tuple[File, ...]
    common: tuple[File, ...]
    hosts: Mapping[str, tuple[File, ...]]

    def files_of(self, server: str) -> tuple[File, ...]:
        """All that ends up on a server, by the paths there. KeyError for a server that is not planned."""
        return (*self.hosts[server], *self.common)

    def tree(self) -> Iterator[File]:
        """All files by their paths in the output folder: what servers share is there once."""
        yield from self.top
        for file in self.common:
            yield replace(file, path=f"common/{PurePosixPath(file.path).name}")
        for host, files in self.hosts.items():
            for file in files:
                yield replace(file, path=f"hosts/{host}{file.path}")
