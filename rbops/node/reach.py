"""What servers that are no neighbours cannot reach: passed on in probes, from each server to the next.

Where servers are more than one cable apart, as in a fly, an intermediate server is no neighbour of who chooses it, and
what is broken behind it is known there alone. So each server says in its probes, one at a time, what it knows of any
server: which others that one cannot reach, and the number of that statement. The highest number of a server counts.
What changed is said at once, and for a second; what says that something is out of reach is said again and again, so
that a server that comes later learns it. Who hears an older statement than it knows says the newer one again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Reach", "Said"]

_TOLD, _AT_ONCE = 100, 3
"""Probes that say what changed, and those of them that say nothing else before."""


@dataclass(frozen=True, slots=True)
class Said:
    """That ``server`` cannot reach those whose bits are in ``cut``; ``number`` grows with each change."""

    server: int
    number: int
    cut: int


class Reach:
    """What is known of all servers, at one of them. ``first``: above the numbers of earlier starts, as a clock is."""

    def __init__(self, server: int, first: int) -> None:
        self._server = server
        self._known = {server: Said(server, first, 0)}
        self._left = {server: _TOLD}
        self._turn = 0

    def set_own(self, cut: int) -> None:
        """What this server itself cannot reach."""
        own = self._known[self._server]
        if cut != own.cut:
            self._keep(Said(self._server, own.number + 1, cut))

    def hear(self, said: Iterable[Said]) -> list[Said]:
        """What neighbours said; returns what is new of other servers."""
        new = []
        for one in said:
            known = self._known.get(one.server)
            if one.server == self._server:
                # Of an earlier start, with a clock that was ahead: what is true now must have the highest number.
                if known is not None and one.number >= known.number and one != known:
                    self._keep(Said(self._server, one.number + 1, known.cut))
            elif known is None or one.number > known.number:
                self._keep(one)
                new.append(one)
            elif one.number < known.number:
                self._left[one.server] = _TOLD
        return new

    def next(self) -> Said:
        """What the next probe says."""
        servers = sorted(server for server, one in self._known.items() if one.cut or self._left[server])
        if not servers:
            return self._known[self._server]
        servers = [server for server in servers if self._left[server] > _TOLD - _AT_ONCE] or servers
        server = next((one for one in servers if one > self._turn), servers[0])
        self._turn = server
        self._left[server] = max(0, self._left[server] - 1)
        return self._known[server]

    def _keep(self, said: Said) -> None:
        self._known[said.server], self._left[said.server] = said, _TOLD
