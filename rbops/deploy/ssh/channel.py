"""A running command on a server, whichever client carries it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Broken", "Channel", "Connection", "Refused"]


class Broken(Exception):
    """The connection is lost; the message says how."""


class Refused(Broken):
    """The login stands, and the server starts no further command on it now (``MaxSessions`` of sshd_config(5))."""


class Channel(Protocol):
    """A command that was started; bytes go in, two streams come out. Every method raises Broken when it is lost."""

    def send(self, data: memoryview) -> int:
        """Feed what fits now into its input; returns how much that was."""

    def end_input(self) -> None:
        """Nothing more goes into its input."""

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        """What came from stdout and stderr, after at most ``wait_s`` seconds; None when both have ended."""

    def close(self) -> None:
        """Give it up; the command may still run."""


class Connection(Protocol):
    """A login to one server, on which commands are started."""

    def start(self, command: str) -> Channel:
        """Start a command for the login shell; Broken when the connection is lost, Refused when there are too many."""

    def close(self) -> None:
        """End it."""
