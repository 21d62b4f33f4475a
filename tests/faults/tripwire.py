"""Fails one change of the file system out of many: a full disk, a read-only one, a kill or a power cut at that moment.

Python reports every such change to audit hooks (PEP 578) before it happens, and a hook that raises prevents it. What is
written is counted where it is put on the disk (``fsync``), which a full disk may refuse too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

__all__ = ["Cut", "Tripwire", "tripwire"]

_CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Cut(BaseException):
    """The process ends here: nothing catches it."""


@dataclass
class Tripwire:
    """Counts changes while armed; ``passed`` names them. Raises ``error`` at the change number ``at`` and not again."""

    at: int = -1
    error: BaseException | None = None
    lasting: bool = False
    armed: bool = False
    tripped: bool = False
    passed: list[str] = field(default_factory=list)

    def change(self, what: str) -> None:
        """One change is about to happen."""
        if not self.armed:
            return
        number = len(self.passed)
        self.passed.append(what)
        if self.error is not None and (number == self.at or (self.lasting and number > self.at)):
            self.tripped = True
            raise self.error

    @contextmanager
    def set(self, at: int = -1, error: BaseException | None = None, *, lasting: bool = False) -> Iterator[Tripwire]:
        """Armed while the block runs. ``lasting``: every later change fails as well."""
        self.at, self.error, self.lasting = at, error, lasting
        self.passed, self.tripped, self.armed = [], False, True
        try:
            yield self
        finally:
            self.armed = False


_WIRE = Tripwire()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _WIRE.armed and (event in _CHANGES or (event == "open" and arguments[2] & _WRITING)):
        _WIRE.change(f"{event} {arguments[0]}")


def _install() -> None:
    """A hook stays as long as the process: one for all tests, idle unless armed."""
    if not getattr(sys, "_rbops_tripwire", False):
        sys.addaudithook(_audit)
        sys._rbops_tripwire = True  # type: ignore[attr-defined]


@pytest.fixture
def tripwire(monkeypatch: pytest.MonkeyPatch) -> Tripwire:
    """The one of this process."""
    _install()
    fsync = os.fsync

    def synced(handle: int) -> None:
        _WIRE.change("fsync")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    return _WIRE
