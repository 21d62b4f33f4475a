"""Which part of a plan a report is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rbops.common.cpulist import list_text

__all__ = ["SHORT", "Section", "View", "listed", "server_names"]

_LISTED = 16


class Section(StrEnum):
    """The parts of a plan's report, in its order."""

    SUMMARY = "summary"
    PORTS = "ports"
    CARDS = "cards"
    CABLING = "cabling"
    CORES = "cores"
    STEERING = "steering"
    KERNEL = "kernel"
    PREDICTION = "prediction"
    WARNINGS = "warnings"


@dataclass(frozen=True, slots=True)
class View:
    """The sections that are asked for (none: all), and the server whose rows they are (None: all servers').

    Without either the report is the short one: alike servers and rows that continue each other are written once.
    """

    sections: Collection[Section] = ()
    server: str | None = None

    @property
    def short(self) -> bool:
        """Whether the report is to fit a screen."""
        return not self.sections and self.server is None

    def has(self, section: Section) -> bool:
        """Whether ``section`` is part of the report; of one server its own rows only."""
        if self.sections:
            return section in self.sections
        return self.server is None or section not in {Section.SUMMARY, Section.PREDICTION, Section.WARNINGS}


SHORT = View()
"""The report that fits a screen."""


def listed(title: str, count: int, section: Section, view: View) -> tuple[str, int]:
    """A long table's title and how many of its ``count`` rows to write."""
    if not view.short or count <= _LISTED:
        return title, count
    return f"{title} ({_LISTED} of {count}; --section {section} lists all)", _LISTED


def server_names(indexes: Sequence[int]) -> str:
    """``n0-n7,n9``."""
    parts = (part.split("-") for part in list_text(indexes).split(","))
    return ",".join("-".join(f"n{index}" for index in part) for part in parts)
