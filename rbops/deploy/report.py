"""What a push tells while it works; the command line shows it, a library user may listen."""

from __future__ import annotations

from typing import Protocol

from rbops.deploy.events import TaskEvent

__all__ = ["Reporter", "Silent"]


class Reporter(Protocol):
    """Called from several threads, in the order things happen on each server."""

    def step(self, text: str) -> None:
        """The whole run begins a step."""

    def server(self, name: str, text: str) -> None:
        """Something about one server that is no Ansible task."""

    def task(self, event: TaskEvent) -> None:
        """Ansible began or ended a task on a server."""

    def warn(self, text: str) -> None:
        """Something the operator should know."""


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Ignored."""

    def server(self, name: str, text: str) -> None:
        """Ignored."""

    def task(self, event: TaskEvent) -> None:
        """Ignored."""

    def warn(self, text: str) -> None:
        """Ignored."""
