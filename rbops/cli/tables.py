"""Tables of text: aligned columns where stdout is no terminal, rich tables where it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rbops.cli.output import emit, stdout_console

__all__ = ["Block", "Table", "plain", "show"]


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` under ``columns``; every cell is text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Table | str
"""A piece of a report: a table, or a paragraph of text."""


def show(blocks: Iterable[Block]) -> None:
    """Print ``blocks`` to stdout."""
    if not sys.stdout.isatty():
        emit(plain(blocks))
        return
    from rich.markup import escape
    from rich.table import Table as RichTable

    screen = stdout_console()
    for block in blocks:
        if isinstance(block, str):
            screen.print(block, markup=False)
            continue
        table = RichTable(*(escape(name) for name in block.columns), title=escape(block.title), title_justify="left")
        for row in block.rows:
            table.add_row(*(escape(cell) for cell in row))
        screen.print(table)


def plain(blocks: Iterable[Block]) -> str:
    """The blocks as text, one empty line between them."""
    return "\n\n".join(block if isinstance(block, str) else _aligned(block) for block in blocks)


def _aligned(table: Table) -> str:
    rows: list[Sequence[str]] = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([table.title, *("  " + line for line in lines)])
