"""A forwarding table that changes in place: prefixes to numbers of next hops, in the shape that fib.h searches.

``controller/fib.py`` compiles a whole table; here each change makes the chunk of its /16 anew. A chunk that is in use
is never written: the new one is written beside it, then one aligned write of the direct table's entry leads to it, and
the old one is used again when no packet can be reading it any more (:meth:`Body.reclaim`). Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import accumulate

from rbops.dataplane.xdp.prefixes import Prefixes

__all__ = ["DIRECT_BYTES", "SLACK", "Body", "Full", "ranges_of"]

LEAF, FEW, SOME, BITMAP, LONG = range(5)
DIRECT_BYTES = 65536 * 4
SLACK = 576
"""A look-up may read that far behind the last chunk."""
_SLAB = 4096
_BITS = [1 << bit for bit in range(256)]


class Full(Exception):
    """The table's memory holds no more chunks."""


def encode(prefixes: Prefixes, top: int, width: int) -> tuple[int, int, bytes]:
    """(form, number of the first range, chunk) of a /16; a leaf has no chunk."""
    if top not in prefixes.fine:
        return LEAF, prefixes.base[top], b""
    painted = prefixes.slots(top)
    if painted is None:
        ranges = prefixes.ranges(top)
        if any(start & 0xFF for start, _ in ranges):
            pairs = [number for pair in ranges for number in pair]
            return LONG, ranges[0][1], struct.pack(f"<II{2 * len(ranges)}H", len(ranges), 0, *pairs)
        starts, numbers = [start >> 8 for start, _ in ranges], [number for _, number in ranges]
    else:
        slots, starts = painted
        numbers = [slots[at] for at in starts]
    count, first = len(starts), numbers[0]
    if count == 1:
        return LEAF, first, b""
    code = "B" if width == 1 else "H"
    if count <= 16:  # noqa: PLR2004 - lanes of two words
        lanes, form = (8, FEW) if count <= 8 else (16, SOME)  # noqa: PLR2004 - lanes of a word
        starts = starts[1:] + [0xFF] * (lanes - count + 1)
        numbers += [numbers[-1]] * (lanes - count)
        return form, first, bytes(starts) + _packed(numbers, code)
    bits = sum(map(_BITS.__getitem__, starts)) - 1
    words = struct.unpack("<4Q", raw := bits.to_bytes(32, "little"))
    ranks = [0, *accumulate(word.bit_count() for word in words[:3])]
    return BITMAP, first, struct.pack("<4B4x", *ranks) + raw + _packed(numbers, code)


def _packed(numbers: list[int], code: str) -> bytes:
    return bytes(numbers) if code == "B" else struct.pack(f"<{len(numbers)}H", *numbers)


def ranges_of(body: memoryview, top: int, width: int) -> list[tuple[int, int]]:
    """The ranges that the data plane finds for a /16, read from its memory."""
    (entry,) = struct.unpack_from("<I", body, 4 * top)
    form, at = entry & 7, entry & ~7
    if form == LEAF:
        return [(0, entry >> 3)]
    if form == LONG:
        (count,) = struct.unpack_from("<I", body, at)
        pairs = struct.unpack_from(f"<{2 * count}H", body, at + 8)
        return list(zip(pairs[::2], pairs[1::2], strict=True))
    code = "B" if width == 1 else "H"
    if form == BITMAP:
        bits = int.from_bytes(body[at + 8 : at + 40], "little")
        starts = [0, *(octet for octet in range(256) if bits >> octet & 1)]
        numbers = struct.unpack_from(f"<{len(starts)}{code}", body, at + 40)
    else:
        lanes = 8 if form == FEW else 16
        inner = list(struct.unpack_from(f"<{lanes - 1}B", body, at))
        numbers = struct.unpack_from(f"<{lanes}{code}", body, at + lanes)
        starts = [0, *inner]
    found: list[tuple[int, int]] = []
    for octet, number in zip(starts, numbers, strict=True):
        if found and found[-1][0] == octet << 8:
            found.pop()
        if not found or found[-1][1] != number:
            found.append((octet << 8, number))
    return found


class Body:
    """The table's memory: the direct table, and chunks behind it in sizes that are used again.

    ``memory`` is writable and starts at the direct table, chunks at ``start``. ``barrier`` returns when all processors
    see what was written: nothing to do where they keep stores in order, as x86 does.
    """

    def __init__(
        self,
        memory: memoryview,
        width: int,
        barrier: Callable[[], object] = lambda: None,
        *,
        start: int = DIRECT_BYTES,
    ) -> None:
        self.width, self.memory = width, memory
        self._barrier = barrier
        self._direct = memory[:DIRECT_BYTES].cast("I")
        self._limit = len(memory) - SLACK
        self._next = start
        self._free: dict[int, list[int]] = {}
        self._chunks: dict[int, tuple[int, int]] = {}
        self._left: list[tuple[int, int]] = []
        self.used = 0

    def write(self, tops: Iterable[int], prefixes: Prefixes, instead: int) -> set[int]:
        """Make these /16s as ``prefixes`` has them. Those for which memory lacks lead to ``instead``, returned."""
        failed, entries = set(), []
        for top in tops:
            form, number, chunk = encode(prefixes, top, self.width)
            old = self._chunks.pop(top, None)
            entry = number << 3
            if form != LEAF:
                try:
                    at, size = self.allocate(len(chunk))
                except Full:
                    entry = instead << 3
                    failed.add(top)
                else:
                    self.memory[at : at + len(chunk)] = chunk
                    self._chunks[top] = at, size
                    entry = at | form
            if old is not None:
                self._left.append(old)
            entries.append((top, entry))
        self._barrier()
        direct = self._direct
        for top, entry in entries:
            direct[top] = entry
        return failed

    def allocate(self, size: int) -> tuple[int, int]:
        """(offset, size) of a free place for ``size`` bytes. Raises Full."""
        size = _rounded(size)
        free = self._free.get(size)
        if free:
            at = free.pop()
        elif size < _SLAB:
            # A page of one size at a time, so that small chunks stay within cache lines.
            if self._next + _SLAB > self._limit:
                raise Full
            at, count = self._next, _SLAB // size
            self._next += _SLAB
            self._free[size] = [at + size * number for number in range(count - 1, 0, -1)]
        else:
            if self._next + size > self._limit:
                raise Full
            at = self._next
            self._next += size
        self.used += size
        return at, size

    def put(self, chunk: bytes, size: int) -> tuple[int, int]:
        """A chunk in a free place of at least ``size`` bytes, which nothing leads to yet. Raises Full."""
        at, size = self.allocate(size)
        self.memory[at : at + len(chunk)] = chunk
        return at, size

    def clear(self, at: int, size: int) -> None:
        """Zero a place that nothing leads to."""
        self.memory[at : at + size] = bytes(size)

    def lead(self, words: Iterable[tuple[int, int]]) -> None:
        """Write these (offset, 32-bit word) when what they lead to can be seen by all."""
        self._barrier()
        memory = self.memory[: len(self.memory) // 4 * 4].cast("I")
        for at, word in words:
            memory[at >> 2] = word

    @property
    def end(self) -> int:
        """Where memory begins that was never used."""
        return self._next

    def leave(self, place: tuple[int, int]) -> None:
        """A place that nothing new leads to; readers may be in it until :meth:`reclaim`."""
        self._left.append(place)

    @property
    def left(self) -> int:
        """Places that wait for :meth:`reclaim`."""
        return len(self._left)

    def reclaim(self) -> None:
        """Use again what was left; the caller has waited until no packet is being forwarded by it."""
        for at, size in self._left:
            self._free.setdefault(size, []).append(at)
            self.used -= size
        self._left.clear()


def _rounded(size: int) -> int:
    if size <= 256:  # noqa: PLR2004
        return -(-size // 16) * 16
    if size <= 1024:  # noqa: PLR2004
        return -(-size // 64) * 64
    step = 1 << (size.bit_length() - 3)
    return -(-size // step) * step
