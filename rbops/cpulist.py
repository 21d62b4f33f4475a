"""CPU lists as the kernel reads and writes them: ``0-2,5``. Standard library only: it runs on servers too."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["list_text", "parse_list"]


def parse_list(text: str) -> frozenset[int]:
    """``0-2,5`` as a set; empty text is no CPU. ValueError for anything else."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
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
