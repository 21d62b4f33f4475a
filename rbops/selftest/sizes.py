"""Sizes of the frames of a phase: one, or a mix of several in turn. Bytes with FCS."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from rbops.predict.packets import mix
from rbops.selftest.wire import FCS_BYTES, LARGEST_SIZE, SMALLEST_SIZE, smallest_size

__all__ = ["MIXES", "MOST_TURNS", "Captured", "FrameSizes", "SizeCount", "Wanted", "frames", "sizes_of"]

MIXES = ("imix", "abilene")

_LONGEST_TURN = 200
MOST_TURNS = 4096
"""So many sizes take turns at most: the generator's table holds no more."""


@dataclass(frozen=True, slots=True)
class Captured:
    """Sizes of a capture's frames in its order; ``name`` is the file's."""

    name: str
    turn: tuple[int, ...]

    @classmethod
    def of(cls, name: str, sizes: Iterable[int]) -> Captured:
        """The first ``MOST_TURNS`` of ``sizes``, with FCS; what is shorter or longer than frames can be is not."""
        first = islice(sizes, MOST_TURNS)
        return cls(name, tuple(min(LARGEST_SIZE, max(SMALLEST_SIZE, size)) for size in first))


Wanted = int | str | Captured
"""A size in bytes, a name of ``MIXES``, or sizes of a capture."""


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """``turn``: the sizes in the order in which they take turns; ``mix`` is their name, None for one size."""

    turn: tuple[int, ...]
    mix: str | None = None

    @property
    def mean(self) -> float:
        """The mean frame."""
        return sum(self.turn) / len(self.turn)

    @property
    def size(self) -> int:
        """The mean in whole bytes."""
        return round(self.mean)

    @property
    def largest(self) -> int:
        """The largest frame."""
        return max(self.turn)

    @property
    def schedule(self) -> bytes:
        """The generator's table of lengths in turn; empty where all frames have the same."""
        if self.mix is None:
            return b""
        return struct.pack(f"<{len(self.turn)}I", *(size - FCS_BYTES for size in self.turn))

    @property
    def named(self) -> str:
        """What is sent, in words."""
        return frames(self.size, self.mix)


@dataclass(frozen=True, slots=True)
class SizeCount:
    """Frames of ``size`` bytes that the generators wrote, and different packets of it that arrived."""

    size: int
    sent: int
    received: int


def frames(size: int, mix: str | None) -> str:
    """What is sent, in words: ``64-byte frames``, ``imix frames (362 bytes on average)``."""
    return f"{size}-byte frames" if mix is None else f"{mix} frames ({size} bytes on average)"


def sizes_of(wanted: Wanted, family: int = 4) -> FrameSizes:
    """What is sent for ``wanted``: no frame is smaller than the family's headers and the identity. KeyError for a name
    that is no mix.
    """
    least = smallest_size(family)
    if isinstance(wanted, int):
        return FrameSizes((max(wanted, least),))
    if isinstance(wanted, Captured):
        return FrameSizes(tuple(max(least, size) for size in wanted.turn), wanted.name)
    shares = mix(wanted).shares
    counts = _whole([share for _, share in shares])
    order = _in_turn(counts)
    return FrameSizes(tuple(max(least, shares[at][0]) for at in order), wanted)


def _whole(shares: list[float]) -> list[int]:
    """The smallest whole numbers in the proportion of ``shares``."""
    for total in range(1, _LONGEST_TURN + 1):
        counts = [share * total for share in shares]
        if all(abs(count - round(count)) < 1e-6 for count in counts):  # noqa: PLR2004  rounding of the shares
            return [round(count) for count in counts]
    raise ValueError(f"{shares} are no parts of {_LONGEST_TURN}")


def _in_turn(counts: list[int]) -> list[int]:
    """Indices as often as ``counts`` says, each spread as evenly as it goes (smooth weighted round robin)."""
    total, credit, order = sum(counts), [0] * len(counts), list[int]()
    for _ in range(total):
        credit = [have + count for have, count in zip(credit, counts, strict=True)]
        best = max(range(len(counts)), key=credit.__getitem__)
        credit[best] -= total
        order.append(best)
    return order
