"""When changes of the kernel's table are written: at once, or in a while together with those that are still to come.

While a table is filled, most /16s change in every moment, and each would be made again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

_LEAST_S, _MOST_S, _SHARE = 0.05, 3.0, 3.0
_QUIET_S = 0.1
_PLACES = 1 << 16
_MANY = 1000
_FIRST_S = 20e-6


class Pace:
    """While changes keep coming, writing takes a quarter of the time, but none waits longer than 3 s for it.

    How long it will take is judged by how many changes there are, and how long it took the last time. ``clock``:
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended = self._took = 0.0
        self._each = _FIRST_S

    def rest_s(self, coming: int = 0) -> float:
        """How long it is until changes are to be written, 0 when it is time; of ``coming`` some more are expected."""
        rest = max(min(_LEAST_S, self._took), min(_MOST_S, _SHARE * self._expected_s(coming)))
        return max(0.0, self._ended + rest - self._clock())

    def quiet_s(self, changes: int) -> float:
        """When nothing came for so long, so many changes are not going to be followed by others."""
        return min(_QUIET_S, self._expected_s(changes))

    def _expected_s(self, changes: int) -> float:
        # A place in the table is made once, however many of its prefixes changed.
        return min(changes, _PLACES) * self._each

    @contextmanager
    def writing(self, changes: int) -> Iterator[None]:
        """Measures how long it takes."""
        begin = self._clock()
        try:
            yield
        finally:
            self._ended = self._clock()
            self._took = self._ended - begin
            if changes >= _MANY:
                self._each = self._took / min(changes, _PLACES)
