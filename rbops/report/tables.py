"""Reports as blocks of text: the one look of every verb's tables, in a pipe and on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Block", "Cell", "Style", "Styled", "Table", "coloured", "plain", "rich_text"]

_COLOURS = {"good": "green", "changed": "yellow", "bad": "red", "dim": "dim"}
_NUMBER = re.compile(r"[0-9][0-9,]*(\.[0-9]+)?%?( \(.*\))?|[0-9]+/[0-9]+")
_NONE = frozenset({"", "-"})

Style = Literal["good", "changed", "bad", "dim"]


@dataclass(frozen=True, slots=True)
class Styled:
    """Text that a terminal shows in colour; elsewhere it is the text alone."""

    text: str
    style: Style


Cell = str | Styled


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` under ``columns``; columns of numbers are aligned to the right. A moving table has no ``title``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


Block = Table | Cell
"""A piece of a report: a table, or a paragraph of text."""


def plain(blocks: Iterable[Block]) -> str:
    """The blocks as text for pipes, logs and files: aligned columns that are never folded, ending in a newline."""
    return "\n\n".join(_aligned(block) if isinstance(block, Table) else _text(block) for block in blocks) + "\n"


def rich_text(blocks: Iterable[Block]) -> RenderableType:
    """The same for a terminal of whatever width: long cells are folded, and some have a colour."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for block in blocks:
        if parts:
            parts.append(Text())
        parts += _folded(block) if isinstance(block, Table) else [coloured(block)]
    return Group(*parts)


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers only."""
    found = []
    for column in range(len(table.columns)):
        texts = [_text(row[column]) for row in table.rows]
        some = [text for text in texts if text not in _NONE]
        found.append(bool(some) and all(_NUMBER.fullmatch(text) for text in some))
    return found


def _aligned(table: Table) -> str:
    rows: list[Sequence[str]] = [table.columns, *(tuple(map(_text, row)) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    right = _numeric(table)

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, right, strict=True)
        return "  ".join(text.rjust(width) if number else text.ljust(width) for text, width, number in cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, *("  " + text for text in (line(rows[0]), rule, *map(line, rows[1:])))])


def _folded(table: Table) -> list[RenderableType]:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, number in zip(table.columns, _numeric(table), strict=True):
        shown.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(coloured, row))
    return [Text(table.title, style="bold"), shown] if table.title else [shown]


def coloured(cell: Cell) -> RenderableType:
    """A cell or paragraph for a terminal; text is never read as markup."""
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else Text(cell.text, style=_COLOURS[cell.style])
