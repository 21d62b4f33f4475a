"""What rbops-node shows of a server: a row for each thing that the plan says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Row", "parse", "unread", "with_every_port"]


@dataclass(frozen=True, slots=True)
class Row:
    """A setting of ``subject`` (``port ext0``, ``sysctl``) as it is and as planned.

    ``reason``: why it is not supported as planned on this server; such a difference is not a failure.
    """

    subject: str
    setting: str
    have: str
    want: str
    reason: str | None = None

    def __str__(self) -> str:
        """As text."""
        text = f"{self.setting} is {self.have or 'nothing'}, planned {self.want or 'nothing'}"
        return f"{text}: {self.reason}" if self.reason else text


def parse(text: str) -> tuple[Row, ...]:
    """Of the output of ``rbops-node show --json``; ValueError when it is something else."""
    rows = json.loads(text)
    try:
        return tuple(Row(r["subject"], r["setting"], r["have"], r["want"], r.get("reason")) for r in rows)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not what rbops-node shows: {error!r}") from error


def unread(answer: str) -> Row:
    """Instead of rows that cannot be read: a difference, so that nothing passes for want of rows."""
    return Row("rbops-node", "show", answer, "a row for each setting")


def with_every_port(rows: Iterable[Row], ports: Iterable[str]) -> tuple[Row, ...]:
    """The rows, and a difference for each planned port of which nothing is shown."""
    shown = tuple(rows)
    subjects = {row.subject for row in shown}
    missing = (f"port {port}" for port in ports if f"port {port}" not in subjects)
    return (*shown, *(Row(subject, "settings", "not shown", "shown") for subject in missing))
