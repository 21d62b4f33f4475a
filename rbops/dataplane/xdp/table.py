"""A forwarding table that changes in place: prefixes to numbers of next hops, in the shape that fib.h searches.

``controller/fib.py`` compiles a whole table; here each change makes the chunk of its /16 anew. A chunk that is in use
is never written: the new one is written beside it, then one aligned write of the direct table's entry leads to it, and
the old one is used again when no packet can be reading it any more (:meth:`Body.reclaim`). Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

__all__ = ["DIRECT_BYTES", "SLACK", "Body", "Full", "Prefixes", "key_of", "ranges_of", "swept"]

LEAF, FEW, SOME, BITMAP, LONG = range(5)
DIRECT_BYTES = 65536 * 4
SLACK = 576
"""A look-up may read that far behind the last chunk."""
_SLAB = 4096
_SHORT, _OCTETS = 16, 24


class Full(Exception):
    """The table's memory holds no more chunks."""


def key_of(address: int, length: int) -> int:
    """A prefix as one number, as :class:`Prefixes` takes it."""
    return address << 6 | length


class Prefixes:
    """Every prefix and the number it leads to; 0 is no route. Pure memory: says which /16s change."""

    def __init__(self) -> None:
        self.fine: dict[int, dict[int, int]] = {}
        self._short: list[dict[int, int]] = [{} for _ in range(_SHORT + 1)]
        self.base = [0] * 65536

    def __len__(self) -> int:
        return sum(map(len, self.fine.values())) + sum(map(len, self._short))

    def put(self, key: int, number: int | None, dirty: set[int]) -> int | None:
        """Let a prefix (see :func:`key_of`) lead to ``number``, None: take it out; returns what it led to before."""
        length = key & 63
        if length <= _SHORT:
            return self._set_short(key >> 6 >> (32 - length), length, number, dirty)
        top = key >> 22
        chunk = self.fine.get(top)
        if chunk is None:
            chunk = self.fine[top] = {}
        # By length first: sorted, long ones come last and paint over short ones.
        place = length << 16 | key >> 6 & 0xFFFF
        before = chunk.get(place)
        if before == number:
            return before
        if number is None:
            del chunk[place]
            if not chunk:
                del self.fine[top]
        else:
            chunk[place] = number
        dirty.add(top)
        return before

    def get(self, key: int) -> int | None:
        """What exactly this prefix leads to."""
        length = key & 63
        if length <= _SHORT:
            return self._short[length].get(key >> 6 >> (32 - length))
        return self.fine.get(key >> 22, {}).get(length << 16 | key >> 6 & 0xFFFF)

    def _set_short(self, head: int, length: int, number: int | None, dirty: set[int]) -> int | None:
        table = self._short[length]
        before = table.get(head)
        if before == number:
            return before
        if number is None:
            del table[head]
        else:
            table[head] = number
        span = _SHORT - length
        for top in range(head << span, (head + 1) << span):
            best = self._cover(top)
            if best != self.base[top]:
                self.base[top] = best
                dirty.add(top)
        return before

    def _cover(self, top: int) -> int:
        for length in range(_SHORT, -1, -1):
            table = self._short[length]
            if table:
                number = table.get(top >> (_SHORT - length))
                if number is not None:
                    return number
        return 0

    def longest(self, address: int) -> tuple[int, int] | None:
        """(key, number) of the longest prefix that holds ``address``; None without one."""
        chunk = self.fine.get(address >> 16, {})
        for length in range(32, _SHORT, -1):
            network = address >> (32 - length) << (32 - length)
            number = chunk.get(length << 16 | network & 0xFFFF)
            if number is not None:
                return key_of(network, length), number
        for length in range(_SHORT, -1, -1):
            head = address >> (32 - length)
            number = self._short[length].get(head)
            if number is not None:
                return key_of(head << (32 - length), length), number
        return None

    def ranges(self, top: int) -> list[tuple[int, int]]:
        """(start within the /16, number) of each range of a /16, neighbours with equal numbers merged."""
        chunk, base = self.fine.get(top), self.base[top]
        if not chunk:
            return [(0, base)]
        order = sorted(chunk)
        if order[-1] >> 16 <= _OCTETS:
            return _painted(order, chunk, base)
        return swept(sorted((place & 0xFFFF, place >> 16, chunk[place]) for place in order), base)


def _painted(order: list[int], chunk: dict[int, int], base: int) -> list[tuple[int, int]]:
    """Nothing finer than /24: one slot for each."""
    slots = [base] * 256
    edges = {0}
    for place in order:
        at, span = place >> 8 & 0xFF, 1 << (_OCTETS - (place >> 16))
        number = chunk[place]
        edges.add(at)
        edges.add(at + span)
        if span == 1:
            slots[at] = number
        else:
            slots[at : at + span] = [number] * span
    edges.discard(256)
    found, last = [], -1
    for at in sorted(edges):
        number = slots[at]
        if number != last:
            found.append((at << 8, number))
            last = number
    return found


def swept(
    items: Sequence[tuple[int, int, int]], base: int, *, whole: int = 0x10000, bits: int = 32
) -> list[tuple[int, int]]:
    """(start, length, number), sorted: a stack of the prefixes that are open at each start.

    ``whole``: how many addresses there are, a /16's or all; ``bits`` of an address.
    """
    found: list[tuple[int, int]] = [(0, base)]
    stack = [(whole, base)]

    def begin(at: int, number: int) -> None:
        if found[-1][0] == at:
            found.pop()
        if not found or found[-1][1] != number:
            found.append((at, number))

    for at, length, number in items:
        while stack[-1][0] <= at:
            end, _ = stack.pop()
            begin(end, stack[-1][1])
        begin(at, number)
        stack.append((at + (1 << (bits - length)), number))
    while len(stack) > 1:
        end, _ = stack.pop()
        if end < whole:
            begin(end, stack[-1][1])
    return found


def encode(ranges: list[tuple[int, int]], width: int) -> tuple[int, bytes]:
    """(form, chunk) of a /16's ranges; a leaf has no chunk."""
    count = len(ranges)
    if count == 1:
        return LEAF, b""
    if any(start & 0xFF for start, _ in ranges):
        pairs = [number for pair in ranges for number in pair]
        return LONG, struct.pack(f"<II{2 * count}H", count, 0, *pairs)
    code = "B" if width == 1 else "H"
    if count <= 16:  # noqa: PLR2004 - lanes of two words
        lanes, form = (8, FEW) if count <= 8 else (16, SOME)  # noqa: PLR2004 - lanes of a word
        starts = [start >> 8 for start, _ in ranges[1:]]
        starts += [0xFF] * (lanes - len(starts))
        numbers = [number for _, number in ranges]
        numbers += [numbers[-1]] * (lanes - count)
        return form, struct.pack(f"<{lanes}B{lanes}{code}", *starts, *numbers)
    bits = 0
    for start, _ in ranges[1:]:
        bits |= 1 << (start >> 8)
    ranks, rank = [0, 0, 0, 0], 0
    for word in range(4):
        ranks[word] = rank
        rank += (bits >> 64 * word & 0xFFFFFFFFFFFFFFFF).bit_count()
    head = struct.pack("<4B4x", *ranks) + bits.to_bytes(32, "little")
    return BITMAP, head + struct.pack(f"<{count}{code}", *(number for _, number in ranges))


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
            form, chunk = encode(ranges := prefixes.ranges(top), self.width)
            old = self._chunks.pop(top, None)
            entry = ranges[0][1] << 3
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
