"""Cases of Click's own checks: a thread, and the tunnels' keys."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.dataplane.click.config import ClickConfig
from rbops.verify.case import Case
from rbops.verify.host import ServerUnderTest

__all__ = ["keys", "threads"]


def threads(server: ServerUnderTest) -> Iterator[Case]:
    """Each of Click's threads, with its CPU."""
    config = server.node.dataplane
    for thread in config.threads if isinstance(config, ClickConfig) else ():
        yield Case(server, f"{server.name}:thread{thread.thread}", key=str(thread.thread), want=str(thread.cpu))


def keys(server: ServerUnderTest) -> Iterator[Case]:
    """A server with tunnels."""
    config = server.node.dataplane
    if isinstance(config, ClickConfig) and config.ipsec_keys:
        yield Case(server, server.name)
