"""A clock that nobody sets: ages of locks and changes must not jump when the time of day does."""

from __future__ import annotations

import time

__all__ = ["uptime"]


def uptime() -> float:
    """Seconds since boot, suspension included (CLOCK_BOOTTIME, clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
