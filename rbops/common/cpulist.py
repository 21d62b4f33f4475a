"""CPU lists as the kernel reads and writes them: ``0-2,5`` (Documentation/admin-guide/cputopology.rst)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rbops.common.limits import HIGHEST_CPU

__all__ = ["list_text", "online_cpus", "parse_list"]

_PART = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")


def parse_list(text: str) -> frozenset[int]:
    """``0-2,5`` as a set; empty text is no CPU. ValueError for anything else and ids above ``HIGHEST_CPU``."""
    cpus: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        match = _PART.fullmatch(part)
        if not match:
            raise ValueError(f"{part!r} is not a CPU id or a range of CPU ids")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last > HIGHEST_CPU:
            raise ValueError(f"{part!r}: a range goes from low to high and ends at {HIGHEST_CPU} or below")
        cpus.update(range(first, last + 1))
    return frozenset(cpus)


def list_text(cpus: Iterable[int]) -> str:
    """A set as the kernel lists it: ``0-2,5``."""
    parts: list[str] = []
    numbers = sorted(cpus)
    while numbers:
        end = 0
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        parts.append(str(numbers[0]) if end == 0 else f"{numbers[0]}-{numbers[end]}")
        numbers = numbers[end + 1 :]
    return ",".join(parts)


def online_cpus() -> frozenset[int]:
    """The ids of this machine's CPUs that are online now."""
    return parse_list(Path("/sys/devices/system/cpu/online").read_text(encoding="ascii"))
