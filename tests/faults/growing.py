"""A lab of three servers between a cluster of the first two, and one of all."""

from __future__ import annotations

from tests.faults.arena import Arena

__all__ = ["GROWTH", "Growing"]

GROWTH = {"grow": ("old", "new"), "shrink": ("new", "left")}
"""The verbs that change the number of servers, with both ends of each.

``old``: two servers, nothing of rbops on the third; ``new``: all three; ``left``: two, and on the third what it had.
"""


class Growing(Arena):
    """``old`` is the spec of two servers, ``new`` that of three."""

    def make(self, name: str, *options: str) -> None:
        """Bring the servers to ``old``, ``new`` or ``left``."""
        if name != "old":
            self.cleanly("apply", *options, spec="new")
        if name != "new":
            self.cleanly("apply", *options, spec="old")
        if name == "old":
            self.cleanly("remove", "--limit", self.names[-1])
