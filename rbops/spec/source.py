"""Where each value of a spec was written, so that every error can point at it.

A path is the way from the document's root: ``("ports", 0, "address")``; as text,
``ports[0].address``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rbops.errors import Diagnostic

__all__ = ["Path", "Place", "Source", "path_of"]

Path = tuple[str | int, ...]

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of text in a file: ``line`` and ``column`` count from 1, ``length`` in characters."""

    file: str
    line: int
    column: int
    length: int = 1
    snippet: str = ""

    def diagnostic(self, message: str, hint: str | None = None) -> Diagnostic:
        """An error at this place."""
        return Diagnostic(self.file, self.line, self.column, message, hint, self.snippet, self.length)


@dataclass(frozen=True, slots=True)
class Source:
    """The places of a document's keys and values, by path."""

    file: str = "<spec>"
    values: Mapping[Path, Place] = field(default_factory=dict)
    keys: Mapping[Path, Place] = field(default_factory=dict)

    def place(self, path: str | Path, *, key: bool = False) -> Place:
        """Where ``path`` was written, else the nearest enclosing value, else the file's start.

        ``key`` asks for the key rather than the value.
        """
        steps = path_of(path) if isinstance(path, str) else path
        if key and steps in self.keys:
            return self.keys[steps]
        while steps:
            if steps in self.values:
                return self.values[steps]
            steps = steps[:-1]
        return self.values.get((), Place(self.file, 1, 1))

    def diagnostic(self, path: str | Path, message: str, hint: str | None = None) -> Diagnostic:
        """An error about the value at ``path`` (``"router.line_rate"``), for ``SpecError``."""
        return self.place(path).diagnostic(message, hint)


def path_of(text: str) -> Path:
    """``"ports[0].address"`` as ``("ports", 0, "address")``."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(text))
