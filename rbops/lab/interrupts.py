"""Holding interrupts back while a tool runs.

An interrupt between the start of a child and its end would leave the child at work behind the back of the
removal that follows: a mount that appears after everything was unmounted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back until the block ends, then deliver them; for blocks that end soon.

    Children started inside get the signals as usual: the process's mask is unchanged, and what is ignored (HUP
    under nohup, INT in a script's background) stays so. Other threads than the main one receive no signals in
    Python, and run the block as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        pending.append(number)

    with _blocked():
        handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in handled}
    try:
        yield
    finally:
        with _blocked():
            for number, handler in before.items():
                # None: installed by C code, and beyond Python's reach.
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for noted in pending:
            signal.raise_signal(noted)


@contextmanager
def _blocked() -> Iterator[None]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
