"""Graceful stop: a signal sets a flag that long work checks, instead of raising an exception anywhere.

A transaction that is interrupted has to roll servers back; an exception in the middle of that would
leave them half done.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rbops.errors import CheckFailed

__all__ = ["Stop", "stoppable"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether, and by which signal, the run is to stop."""

    __slots__ = ("_count", "_event", "_signal")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._signal: int | None = None
        self._count = 0

    def request(self, signum: int) -> None:
        """Request the stop."""
        self._signal = signum
        self._count += 1
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    @property
    def insisted(self) -> bool:
        """Whether it was requested more than once: do not even wait for servers."""
        return self._count > 1

    @property
    def reason(self) -> str:
        """The signal's name, as ``SIGINT``; empty when there was none."""
        return signal.Signals(self._signal).name if self._signal else ""

    def end_if_requested(self, state: str) -> None:
        """Raise CheckFailed (1), with the ``state`` that things are in, when a stop was requested."""
        if self.requested:
            raise CheckFailed(f"interrupted by {self.reason}: {state}", code="apply.interrupted")

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until :attr:`insisted`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.insisted:
            time.sleep(0.1)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn INT, TERM and HUP into a flag while the block runs; outside the main thread only the flag.

    A signal that is ignored, as HUP under nohup or INT in a script's background, stays ignored.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        del frame
        stop.request(signum)

    handled = [signum for signum in _SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, handle) for signum in handled}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
