"""When changes of the kernel's table are written: at once, or in a while together with those that are still to come.

While a table is filled, most /16s change in every moment, and each would be made again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

_MOST_S, _SHARE = {False: 0.05, True: 2.0}, {False: 1.0, True: 3.0}
"""By whether there is more to be read: the longest rest, and how many times as long as the last writing it is."""


class Pace:
    """Writing takes half of the time at most, and a quarter where more is to be read. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended = self._took = 0.0

    def rest_s(self, *, more: bool = False) -> float:
        """How long it is until changes are to be written; ``more``: others wait to be read. 0 when it is time."""
        rest = min(_MOST_S[more], _SHARE[more] * self._took)
        return max(0.0, self._ended + rest - self._clock())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measures how long it takes."""
        begin = self._clock()
        try:
            yield
        finally:
            self._ended = self._clock()
            self._took = self._ended - begin
