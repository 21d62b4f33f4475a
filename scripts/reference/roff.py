"""Man pages in the man(7) macros that groff and mandoc both read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Self

from scripts.reference.model import Option

__all__ = ["ManPage"]


class ManPage:
    """A page under construction; every method returns the page, so that calls can be chained.

    Text may have words between backticks, which become bold. ``title`` and ``number``: RBOPS, 1.
    """

    def __init__(self, title: str, number: int, version: str) -> None:
        self._lines = [
            '.\\" Generated from the program by `make docs`.',
            f'.TH {title.upper()} {number} "" "rbops {version}" "rbops"',
            ".nh",
            ".ad l",
        ]

    def heading(self, text: str) -> Self:
        """A section: SYNOPSIS."""
        self._lines.append(f'.SH "{_plain(text)}"')
        return self

    def part(self, text: str) -> Self:
        """A heading within a section."""
        self._lines.append(f'.SS "{_plain(text)}"')
        return self

    def paragraph(self, *texts: str) -> Self:
        """Running text, a paragraph each."""
        for text in texts:
            self._apart()
            self._lines.append(_text(text))
        return self

    def line(self, text: str) -> Self:
        """Text right below a heading."""
        self._lines.append(_text(text))
        return self

    def code(self, text: str) -> Self:
        """Lines as they are."""
        lines = (_guard(_plain(line)) for line in text.rstrip("\n").split("\n"))
        self._apart()
        self._lines += [".RS 4", ".nf", *lines, ".fi", ".RE"]
        return self

    def terms(self, terms: Iterable[tuple[str, str]]) -> Self:
        """A list of terms in bold, each with its text below."""
        for term, text in terms:
            self._lines += [".TP", f"\\fB{_plain(term)}\\fR", _text(text or "-")]
        return self

    def options(self, options: Iterable[Option]) -> Self:
        """Options with their help."""
        return self.terms((option.spelling, option.text) for option in options)

    def _apart(self) -> None:
        """A new paragraph, which a heading begins by itself."""
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")

    def render(self) -> str:
        """The page as a file's text."""
        return "\n".join(self._lines) + "\n"


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")


def _text(text: str) -> str:
    """One paragraph: a sentence a line is roff's custom, but one line is read alike and compares as well."""
    parts = re.split(r"`+([^`]*)`+", text)
    return _guard("".join(f"\\fB{_plain(part)}\\fR" if at % 2 else _word(part) for at, part in enumerate(parts)))


def _word(text: str) -> str:
    # Options outside of backticks keep their hyphens too: what is copied from a page must work.
    return re.sub(r"(?<![\w])-", r"\\-", text.replace("\\", "\\e"))


def _guard(line: str) -> str:
    """A line must not begin with what roff takes for a request."""
    return f"\\&{line}" if line[:1] in {".", "'"} else line
