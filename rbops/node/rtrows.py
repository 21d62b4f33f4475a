"""Route messages in a row that differ in their prefixes and little else, taken apart column by column.

A table of a million routes is a million messages: one at a time they would take several times as long as the kernel
needs to make the routes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Row", "rows"]

_LEAST, _STEP = 8, 64
_HEAD = 16


def rows(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(start, end, length) of messages of one length that follow each other; length 0: of different lengths, or few.

    Behind a message that says nonsense of its length all that is left is one part.
    """
    words = memoryview(data)[: len(data) // 4 * 4].cast("I")
    offset = mixed = 0
    while offset + _HEAD <= len(data):
        length = words[offset // 4]
        if length < _HEAD or offset + length > len(data):
            break
        count = _alike(words, offset // 4, length // 4) if length % 4 == 0 else 1
        if count >= _LEAST:
            if mixed < offset:
                yield mixed, offset, 0
            yield offset, offset + count * length, length
            mixed = offset + count * length
        offset += count * ((length + 3) & ~3)
    if mixed < len(data):
        yield mixed, len(data), 0


def _alike(words: memoryview, start: int, step: int) -> int:
    """How many messages in a row have the length of the first one; all lengths are in words."""
    most, count, length = (len(words) - start) // step, 1, 4 * step
    while count < most:
        end = min(count + _STEP, most)
        lengths = words[start + count * step : start + end * step : step].tolist()
        same = lengths.count(length)
        if same < len(lengths):
            return count + next(at for at, other in enumerate(lengths) if other != length)
        count = end
    return count


@dataclass(slots=True)
class Row:
    """The prefixes of a row by what else their messages say: (from the type of service on, behind the destination).

    ``first``: number of the first message of each group.
    """

    groups: dict[tuple[bytes, bytes], list[int]]
    first: dict[tuple[bytes, bytes], int]

    @classmethod
    def of(cls, data: bytes, length: int, key: tuple[int, int], places: bytes) -> Row | None:
        """None where a message is of another type, family or table, or speaks of a prefix a second time.

        ``key``: bits of an address and of the prefix length below it; ``places`` is what is in front of a destination.
        """
        bits, shift = key
        if length < 40 + bits // 8:
            return None
        kinds, families, lengths, heads, before, *addresses, rests = zip(
            *_columns(length, bits).iter_unpack(data), strict=True
        )
        count = len(kinds)
        if kinds.count(kinds[0]) < count or families.count(families[0]) < count or before.count(places) < count:
            return None
        if bits == 32:  # noqa: PLR2004
            keys = [address << shift | size for address, size in zip(*addresses, lengths, strict=True)]
        else:
            keys = [(high << 64 | low) << shift | size for high, low, size in zip(*addresses, lengths, strict=True)]
        if len(set(keys)) < count:
            return None
        if heads.count(heads[0]) == count and rests.count(rests[0]) == count:
            only = heads[0], rests[0]
            return cls({only: keys}, {only: 0})
        groups: dict[tuple[bytes, bytes], list[int]] = {}
        first: dict[tuple[bytes, bytes], int] = {}
        for number, (text, one) in enumerate(zip(zip(heads, rests, strict=True), keys, strict=True)):
            group = groups.get(text)
            if group is None:
                groups[text], first[text] = [one], number
            else:
                group.append(one)
        return cls(groups, first)


@lru_cache(maxsize=256)
def _columns(length: int, bits: int) -> struct.Struct:
    """Type and flags; family; prefix length; from the type of service on; what is before the address; it; the rest.

    struct nlmsghdr, struct rtmsg, RTA_TABLE and RTA_DST, as fib_dump_info() and rt6_fill_node() of the kernel write
    them. The length of the source prefix is skipped: there is none.
    """
    address = "I" if bits == 32 else "QQ"  # noqa: PLR2004
    return struct.Struct(f">4x4s8xsBx9s12s{address}{length - 40 - bits // 8}s")
