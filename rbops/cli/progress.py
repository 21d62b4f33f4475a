"""The progress of a push: a line per server that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rbops.cli.output import console
from rbops.report.tables import Cell, Style, Styled, Table, coloured, rich_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from rbops.deploy.events import TaskEvent
    from rbops.deploy.report import Reporter

__all__ = ["deploy_progress"]

_STYLES: Mapping[str, Style] = {"ok": "good", "changed": "changed", "failed": "bad", "unreachable": "bad"}
_REFRESH_HZ = 4


@contextmanager
def deploy_progress(*, show_diff: bool) -> Iterator[Reporter]:
    """The reporter of a push, on stderr."""
    screen = console()
    if not screen.is_terminal:
        yield _Plain(screen, show_diff=show_diff)
        return
    from rich.live import Live

    with Live(console=screen, refresh_per_second=_REFRESH_HZ, transient=True) as live:
        yield _Moving(screen, live, show_diff=show_diff)


class _Plain:
    """Lines: each step with the time of the one before, changed and failed tasks, not those that changed nothing."""

    def __init__(self, screen: Console, *, show_diff: bool) -> None:
        self._screen = screen
        self._show_diff = show_diff
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def line(self, text: Cell) -> None:
        """One line on stderr, never folded and never read as markup."""
        with self._lock:
            self._screen.print(coloured(text), soft_wrap=True)

    def step(self, text: str) -> None:
        """A step begins; the time is since the start."""
        self.line(f"[{time.monotonic() - self._started:5.1f} s] {text}")

    def server(self, name: str, text: str) -> None:
        """Something about a server."""
        self.line(f"  {name}: {text}")

    def warn(self, text: str) -> None:
        """A warning."""
        self.line(Styled(f"warning: {text}", "changed"))

    def task(self, event: TaskEvent) -> None:
        """A task's end, when it did something."""
        if event.status in {"changed", "failed", "unreachable"}:
            reason = f": {event.message}" if event.message else ""
            self.line(Styled(f"  {event.host}: {event.title}: {event.status}{reason}", _STYLES[event.status]))
        if self._show_diff and event.diff:
            self.line(event.diff.rstrip())


class _Moving(_Plain):
    """A table: one row a server with its current task; failures and diffs scroll above it."""

    def __init__(self, screen: Console, live: Live, *, show_diff: bool) -> None:
        super().__init__(screen, show_diff=show_diff)
        self._live = live
        self._rows: dict[str, tuple[str, str]] = {}
        self._changed: dict[str, int] = {}

    def server(self, name: str, text: str) -> None:
        """The row of the server says it."""
        self._rows[name] = (text, "")
        self._draw()

    def task(self, event: TaskEvent) -> None:
        """The row of the server shows the task; what failed stays above."""
        if event.status == "changed":
            self._changed[event.host] = self._changed.get(event.host, 0) + 1
        if event.status in {"failed", "unreachable"} or (self._show_diff and event.diff):
            super().task(event)
        status = "" if event.status == "started" else event.status
        self._rows[event.host] = (event.title, status)
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._live.update(self._table())

    def _table(self) -> RenderableType:
        rows = tuple(
            (name, task, Styled(status, _STYLES.get(status, "dim")), str(self._changed.get(name, 0)))
            for name, (task, status) in sorted(self._rows.items())
        )
        return rich_text([Table("", ("server", "task", "result", "changed"), rows)])
