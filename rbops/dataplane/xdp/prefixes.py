"""IPv4 prefixes and the numbers of next hops that they lead to, by /16, and the ranges that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["Prefixes", "key_of", "swept"]

_SHORT, _OCTETS = 16, 24
_OUTER = {0, 256}
_NONE: dict[int, int] = {}


def key_of(address: int, length: int) -> int:
    """A prefix as one number, as :class:`Prefixes` takes it."""
    return address << 6 | length


class Prefixes:
    """Every prefix and the number of its next hop, 0 for none. In memory alone; it reports which /16s change.

    ``fine``: the /16s that have longer prefixes than themselves, and where each of these leads.
    """

    def __init__(self) -> None:
        self.fine: dict[int, dict[int, int]] = {}
        self._count = 0
        self._short: list[dict[int, int]] = [{} for _ in range(_SHORT + 1)]
        self.base, self._by = [0] * 65536, [-1] * 65536

    def __len__(self) -> int:
        return self._count + sum(map(len, self._short))

    def put(self, key: int, number: int | None, dirty: set[int]) -> int | None:
        """Let a prefix (see :func:`key_of`) lead to ``number``, None: take it out; returns what it led to before."""
        before = self.get(key)
        self.put_all([key], number, dirty)
        return before

    def put_all(self, keys: list[int], number: int | None, dirty: set[int]) -> Counter[int | None]:
        """The same of several, none of them twice; returns how many of those that changed led to what before."""
        counts: Counter[int | None] = Counter()
        fine, new = self.fine, 0
        for key in keys:
            if key & 63 <= _SHORT:
                self._set_short(key >> 6, key & 63, number, dirty, counts)
                continue
            chunk = fine.get(key >> 22)
            if chunk is None:
                chunk = fine[key >> 22] = {}
            before = chunk.get(key)
            if before is None:
                new += number is not None  # most, while a table is filled: counted by itself
            elif before != number:
                counts[before] += 1
            if before != number:
                dirty.add(key >> 22)
            if number is None:
                self._count -= chunk.pop(key, None) is not None
                if not chunk:
                    del fine[key >> 22]
            else:
                chunk[key] = number
        self._count += new
        if new:
            counts[None] += new
        return counts

    def get(self, key: int) -> int | None:
        """What exactly this prefix leads to."""
        length = key & 63
        if length <= _SHORT:
            return self._short[length].get(key >> 6 >> (32 - length))
        return self.fine.get(key >> 22, _NONE).get(key)

    def _set_short(
        self, network: int, length: int, number: int | None, dirty: set[int], counts: Counter[int | None]
    ) -> None:
        table, head = self._short[length], network >> (32 - length)
        before = table.get(head)
        if before == number:
            return
        counts[before] += 1
        if number is None:
            del table[head]
        else:
            table[head] = number
        base, by = self.base, self._by
        first, end = head << (_SHORT - length), (head + 1) << (_SHORT - length)
        if number is not None:
            changed = [top for top in range(first, end) if by[top] <= length]
            for top in changed:
                base[top], by[top] = number, length
        else:
            changed = [top for top in range(first, end) if by[top] == length]
            for top in changed:
                base[top], by[top] = self._cover(top)
        dirty.update(changed)

    def _cover(self, top: int) -> tuple[int, int]:
        """(number, length) of the longest short prefix that a /16 lies in."""
        for length in range(_SHORT, -1, -1):
            table = self._short[length]
            if table:
                number = table.get(top >> (_SHORT - length))
                if number is not None:
                    return number, length
        return 0, -1

    def longest(self, address: int) -> tuple[int, int] | None:
        """(key, number) of the longest prefix that holds ``address``; None without one."""
        for length in range(32, -1, -1):
            key = key_of(address >> (32 - length) << (32 - length), length)
            number = self.get(key)
            if number is not None:
                return key, number
        return None

    def slots(self, top: int) -> tuple[list[int], list[int]] | None:
        """What each /24 of a /16 leads to, and where ranges of equal ones start; None where prefixes are finer."""
        slots, numbers = [self.base[top]] * 256, self.fine.get(top, _NONE)
        bounds = set[int]()
        # By address, shorter ones first: each lies in the one that was painted last, or behind it.
        for key in sorted(numbers):
            length, at = key & 63, key >> 14 & 0xFF
            if length == _OCTETS:
                slots[at] = numbers[key]
                bounds.add(at)
                bounds.add(at + 1)
            elif length < _OCTETS:
                end = at + (1 << (_OCTETS - length))
                slots[at:end] = [numbers[key]] * (end - at)
                bounds.add(at)
                bounds.add(end)
            else:
                return None
        bounds -= _OUTER
        return slots, [0, *(at for at in sorted(bounds) if slots[at] != slots[at - 1])]

    def ranges(self, top: int) -> list[tuple[int, int]]:
        """(start within the /16, number) of each range of a /16, neighbours with equal numbers merged."""
        painted = self.slots(top)
        if painted is not None:
            slots, starts = painted
            return [(at << 8, slots[at]) for at in starts]
        items = [(key >> 6 & 0xFFFF, key & 63, number) for key, number in sorted(self.fine[top].items())]
        return swept(items, self.base[top])


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
