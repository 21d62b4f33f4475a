"""Where each value of a spec was written, so that every error can point at it.

A path is the way from the document's root: ``("ports", 0, "address")``; as text,
``ports[0].address``. A ``Node`` is a piece of the YAML document with its place; scalars are kept as
the text the user wrote, because YAML 1.1 reads ``0000:03:00.0`` as a number and ``off`` as false.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from rbops.errors import Diagnostic

__all__ = ["Node", "Path", "Place", "Source", "Text", "dotted", "path_of"]

Path = tuple[str | int, ...]

_STEP = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as the end of a line
_WIDEST = 240
_LONGEST_STEP = 40


class Text:
    """A file's name and its lines, split where ``breaks`` match (as YAML counts them) when the first error asks."""

    __slots__ = ("_breaks", "_lines", "_text", "file")

    def __init__(self, file: str, text: str = "", breaks: re.Pattern[str] = _BREAK) -> None:
        self.file = file
        self._text = text
        self._breaks = breaks
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Line ``number``, from 1, with characters that a terminal would act on made visible."""
        return _visible(self._line(number))

    def diagnostic(
        self, place: Place, message: str, hint: str | None = None, *, code: str, field: str = ""
    ) -> Diagnostic:
        """An error at ``place``; a line too wide for a terminal is cut, or left out where the caret would be."""
        snippet = self._line(place.line)
        if len(snippet) > _WIDEST:
            snippet = f"{snippet[:_WIDEST]}..." if place.column <= _WIDEST else ""
        snippet = _visible(snippet)
        length = max(1, min(place.length, len(snippet) - place.column + 1))
        return Diagnostic(self.file, place.line, place.column, message, hint, snippet, length, code=code, field=field)

    def _line(self, number: int) -> str:
        if self._lines is None:
            self._lines = self._breaks.split(self._text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""


def _visible(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in line)


@dataclass(frozen=True, slots=True)
class Place:
    """``line`` and ``column`` count from 1, ``length`` in characters on that line."""

    line: int = 1
    column: int = 1
    length: int = 1


@dataclass(slots=True)
class Node:
    """A scalar (``value`` text, None when empty or null), list or mapping of the document.

    ``key`` is the place of the mapping key this node stands under; ``text`` the file it came from.
    """

    value: str | list[Node] | dict[str, Node] | None
    place: Place
    text: Text
    key: Place | None = None
    size: int = 1

    def diagnostic(self, message: str, hint: str | None = None, *, code: str, field: str = "") -> Diagnostic:
        """An error about this value; ``field`` is its path in the file."""
        return self.text.diagnostic(self.place, message, hint, code=code, field=field)

    def diagnostic_at_key(self, message: str, hint: str | None = None, *, code: str, field: str = "") -> Diagnostic:
        """An error about the key of this value; ``field`` is the value's path in the file."""
        return self.text.diagnostic(self.key or self.place, message, hint, code=code, field=field)

    def under(self, key: Place) -> Node:
        """The same node under the key at ``key`` (an aliased node stands under several)."""
        return replace(self, key=key)

    def child(self, step: str | int) -> Node | None:
        """The value under a key or index, None when there is none."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def plain(self) -> object:
        """The value as dicts, lists, text and None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def _nowhere() -> Node:
    return Node({}, Place(), Text("<spec>"))


@dataclass(frozen=True, slots=True)
class Source:
    """The document a spec was read from; a spec made in Python has an empty one."""

    root: Node = field(default_factory=_nowhere)

    def node(self, path: str | Path) -> Node:
        """The value at ``path``, else the nearest enclosing one that was written."""
        node = self.root
        for step in path_of(path) if isinstance(path, str) else path:
            found = node.child(step)
            if found is None:
                break
            node = found
        return node

    def line(self, path: str | Path) -> int:
        """The line on which ``path`` was written."""
        return self.node(path).place.line

    def diagnostic(self, path: str | Path, message: str, hint: str | None = None, *, code: str) -> Diagnostic:
        """An error about the value at ``path`` (``"router.line_rate"``), for ``SpecError``."""
        field = path if isinstance(path, str) else dotted(path)
        return self.node(path).diagnostic(message, hint, code=code, field=field)

    def mistake(self, path: Path, message: str, hint: str | None = None, *, code: str) -> Diagnostic:
        """The same with the path, dotted, in front of the message."""
        return self.diagnostic(path, f"{dotted(path)}: {message}", hint, code=code)


def path_of(text: str) -> Path:
    """``"ports[0].address"`` as ``("ports", 0, "address")``."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(text))


def dotted(path: Path) -> str:
    """``("ports", 0, "address")`` as ``"ports[0].address"``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_shown(step)}" for step in path)
    return text.removeprefix(".")


def _shown(step: str) -> str:
    cut = step if len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}..."
    return cut if cut.isprintable() else ascii(cut)
