"""Progress of a push: the command line shows it, a library user may handle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rbops.deploy.events import TaskEvent
from rbops.deploy.runs import Run

__all__ = ["Journaling", "Reporter", "Silent"]


class Reporter(Protocol):
    """Called from several threads, in the order things happen on each server."""

    def step(self, text: str) -> None:
        """The whole run begins a step."""

    def server(self, name: str, text: str) -> None:
        """Progress on one server that is not an Ansible task."""

    def task(self, event: TaskEvent) -> None:
        """Ansible began or ended a task on a server."""

    def warn(self, text: str) -> None:
        """Something the operator should know."""


class Silent:
    """Discards everything."""

    def step(self, text: str) -> None:
        """Ignored."""

    def server(self, name: str, text: str) -> None:
        """Ignored."""

    def task(self, event: TaskEvent) -> None:
        """Ignored."""

    def warn(self, text: str) -> None:
        """Ignored."""


@dataclass(frozen=True, slots=True)
class Journaling:
    """Passes everything on, and notes the steps in the run's journal with their times."""

    run: Run
    reporter: Reporter

    def step(self, text: str) -> None:
        """Noted."""
        self.run.note("step", step=text)
        self.reporter.step(text)

    def server(self, name: str, text: str) -> None:
        """Passed on."""
        self.reporter.server(name, text)

    def task(self, event: TaskEvent) -> None:
        """Passed on."""
        self.reporter.task(event)

    def warn(self, text: str) -> None:
        """Passed on."""
        self.reporter.warn(text)
