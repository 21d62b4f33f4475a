"""Progress of a push: the command line shows it, a library user may handle it."""

from __future__ import annotations

from typing import Protocol

from rbops.deploy.events import TaskEvent

__all__ = ["Reporter", "Silent"]


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
