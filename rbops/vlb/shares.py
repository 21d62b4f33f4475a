"""A core's token buckets, and how the cores of a server share what a bucket is of: the direct quota, a link's rate.

Each core has an equal part, ``base`` bytes a tick. One flow is on one core, and may need all of it while the other
cores are idle. So once a tick the clock looks at what each core was offered, and deals anew:

- A core's *need* is the most it was offered in a tick, fading by a sixteenth a tick, and an eighth more, so that its
  bucket keeps headroom. For a link, offered is what was put on it; for the quota towards a server, all that was for
  that server, whatever path it took.
- Every core keeps what it needs of its equal part. The rest is what can be spared.
- When the needs beyond equal parts are no more than that, all are met and every CPU gets an equal part of what is then
  left; otherwise it is divided in proportion to them. When no core needs more than ``base``, all have ``base``.

A share is a refill and the depth that belongs to it. What a bucket is missing stays when its depth changes: one core's
loss of depth is another's gain, so that the buckets of all cores hold together what one bucket of it all would, and are
never filled by more. Cores read their shares and write none; so two cores may use the old and the new one in the same
tick, and that is how far all of them can be above.

``rbops/dataplane/xdp/shares.h`` does the same. A CPU that packets are not planned for has buckets, but no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["BURST_TICKS", "MAX_FRAME", "MAX_REFILL", "Bucket", "deal"]

BURST_TICKS = 10
"""A bucket holds what this many ticks (ms) refill."""

MAX_FRAME = 1514
"""Bytes of the largest frame without FCS at an MTU of 1500."""

MAX_REFILL = 200_000_000
"""Bytes a tick that a bucket may gain: its depth fits 31 bits."""


@dataclass(slots=True)
class Bucket:
    """A token bucket of bytes, refilled by the tick; ``offered`` counts the bytes that were for it."""

    refill: int
    max_frame: int = MAX_FRAME
    tick: int = 0
    depth: int = field(init=False, default=0)
    join: int = field(init=False)
    tokens: int = field(init=False, default=0)
    offered: int = field(init=False, default=0)
    _seen: int = field(init=False, default=0)
    _peak: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.resize(self.refill)

    def resize(self, refill: int) -> None:
        """Another rate; what is missing stays, so that tokens may be below zero."""
        missing, self.refill = self.depth - self.tokens, refill
        self.depth = max(BURST_TICKS * refill, 2 * self.max_frame) if refill else 0
        self.join = max(1, self.depth - self.depth // 8)
        self.tokens = self.depth - missing

    def advance(self, tick: int) -> None:
        """Credit the ticks since the last touch; ``tick`` never goes back."""
        self.tokens = min(self.depth, self.tokens + (tick - self.tick) * self.refill)
        self.tick = tick

    def take(self, size: int) -> None:
        """Take ``size`` bytes, or what there is."""
        self.tokens = min(self.tokens, max(0, self.tokens - size))

    def look(self, elapsed: int) -> int:
        """What its core needs a tick, ``elapsed`` ticks after the last look."""
        rate, self._seen = (self.offered - self._seen) // elapsed, self.offered
        faded = self._peak - (self._peak // 16 + 1 if self._peak else 0)
        self._peak = max(rate, faded)
        return self._peak + self._peak // 8 if self._peak < MAX_REFILL else MAX_REFILL


def deal(buckets: Sequence[Bucket], base: int, planned: int, elapsed: int) -> None:
    """The shares of ``buckets``, one a CPU, ``elapsed`` ticks after the last time; ``planned`` of them have a part."""
    needs = [bucket.look(max(1, elapsed)) for bucket in buckets]
    kept = sum(min(need, base) for need in needs)
    wanted = sum(max(0, need - base) for need in needs)
    spare = max(0, base * planned - kept)
    for bucket, need in zip(buckets, needs, strict=True):
        if not wanted:
            refill = base
        elif wanted >= spare:
            refill = min(need, base) + spare * max(0, need - base) // wanted
        else:
            refill = need + (spare - wanted) // len(buckets)
        bucket.resize(min(refill, MAX_REFILL))
