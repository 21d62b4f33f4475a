"""A Click text and where things are in it: lines as Click counts them, `#line` directives obeyed."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace

from rbops.errors import Diagnostic
from rbops.spec.source import Place, Text

__all__ = ["ClickText", "Span"]

_BREAK = re.compile("\r\n|[\n\r]")


class ClickText:
    """The characters of one configuration file, and the lines that ``#line`` directives gave other names.

    ``closings`` is the lexer's: where the parenthesis after an offset closes, of those without directives between.
    """

    __slots__ = ("_breaks", "_renamed", "_text", "characters", "closings", "name")

    def __init__(self, name: str, characters: str) -> None:
        self.name = name
        self.characters = characters
        self.closings: dict[int, int] = {}
        self._text = Text(name, characters, _BREAK)
        self._breaks: list[int] = []
        self._renamed: list[tuple[int, str, int]] = []

    def named(self, name: str) -> ClickText:
        """The same file under another name; what was read of one need not be read again of the other."""
        text = ClickText(name, self.characters)
        text.closings = self.closings
        return text

    @property
    def _starts(self) -> list[int]:
        """Where lines begin, found with the first position that is needed."""
        if not self._breaks:
            self._breaks = [0, *(match.end() for match in _BREAK.finditer(self.characters))]
        return self._breaks

    def rename_from(self, offset: int, line: int, file: str | None) -> None:
        """The line after the one at ``offset`` is line ``line`` of ``file`` (None: as before)."""
        after = bisect_right(self._starts, offset)
        current = self._renamed[-1][1] if self._renamed else self.name
        self._renamed.append((after, current if file is None else file or self.name, line))

    def where(self, offset: int) -> tuple[str, int, int]:
        """File, line and column (from 1) that a message about ``offset`` should name."""
        index = bisect_right(self._starts, offset) - 1
        column = offset - self._starts[index] + 1
        named = bisect_right(self._renamed, index, key=lambda item: item[0]) - 1
        if named < 0:
            return self.name, index + 1, column
        first, file, line = self._renamed[named]
        return file, line + index - first, column

    def diagnostic(self, start: int, end: int, message: str, hint: str | None = None, *, code: str) -> Diagnostic:
        """An error about the characters from ``start`` to ``end``, with the line they begin on."""
        file, line, column = self.where(start)
        physical = bisect_right(self._starts, start)
        found = self._text.diagnostic(Place(physical, column, max(1, end - start)), message, hint, code=code)
        return replace(found, path=file, line=line)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end`` of ``text``."""

    text: ClickText
    start: int
    end: int

    def diagnostic(self, message: str, hint: str | None = None, *, code: str) -> Diagnostic:
        """An error about them."""
        return self.text.diagnostic(self.start, self.end, message, hint, code=code)

    def to(self, other: Span) -> Span:
        """From here to the end of ``other``, where both are in one text."""
        return Span(self.text, self.start, max(self.end, other.end)) if other.text is self.text else self

    def __str__(self) -> str:
        file, line, column = self.text.where(self.start)
        return f"{file}:{line}:{column}"
