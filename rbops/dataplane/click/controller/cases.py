"""Cases of Click's own checks: a thread, and the tunnels' keys."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.verify.case import Case
from rbops.verify.host import ServerUnderTest

__all__ = ["keys", "threads"]


def threads(server: ServerUnderTest) -> Iterator[Case]:
    """Each of Click's threads, with its CPU."""
    for thread in server.node["dataplane"]["threads"]:
        label = f"{server.name}:thread{thread['thread']}"
        yield Case(server, label, key=str(thread["thread"]), want=str(thread["cpu"]))


def keys(server: ServerUnderTest) -> Iterator[Case]:
    """A server with tunnels."""
    if server.node["dataplane"].get("ipsec_keys"):
        yield Case(server, server.name)
