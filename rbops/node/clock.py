"""A clock that nobody sets: ages of locks and changes must not jump when the time of day does."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["boot_id", "uptime"]


def uptime() -> float:
    """Seconds since boot, suspension included (CLOCK_BOOTTIME, clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The name of this boot, random(4); empty where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
