"""The paper's figures of RB4 beside those of a self-test, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rbops.report.tables import Table
from rbops.selftest.beside import PaperFigure

__all__ = ["paper_rows", "paper_table"]


def paper_table(figures: Sequence[PaperFigure]) -> Table:
    """A row for each figure that was measured."""
    columns = ("figure", "paper", "measured", "measured / paper")
    return Table("Beside the paper's RB4 (section 6.2: four servers of 2009)", columns, tuple(paper_rows(figures)))


def paper_rows(figures: Sequence[PaperFigure]) -> list[tuple[str, str, str, str]]:
    """The table's cells."""
    return [
        (
            one.name,
            _shown(one.low, one.unit) + ("" if one.low == one.high else f" to {_shown(one.high, one.unit)}"),
            _shown(one.measured, one.unit),
            f"{one.measured / one.low:.3f}" if one.low == one.high else "-",
        )
        for one in figures
    ]


def _shown(value: float, unit: str) -> str:
    if unit == "bps":
        return f"{value / 1e9:.2f} Gbps"
    return f"{value * 1e6:.1f} us" if unit == "s" else f"{value:.3%}"
