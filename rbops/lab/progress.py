"""Progress of long operations on labs, step by step."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called with a short text at the beginning of each step."""

    def __call__(self, step: str, /) -> None:
        """The step that begins now; the one before it is done."""


def silent(step: str, /) -> None:
    """No progress."""
    del step
