"""All of an IPv6 table at once: the ranges that prefixes make, and those that the data plane has in memory.

Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from rbops.dataplane.xdp.prefixes import swept
from rbops.dataplane.xdp.table6 import DENSE, INDEXED, SMALL

__all__ = ["painted6", "ranges6"]

_BITS, _STEP, _KEYS, _INDEX_BYTES = 128, 16, 65536, 2 * 260


def painted6(prefixes: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(start, number) of the ranges that sorted (address, length, number) make; 0 is what none of them covers."""
    return swept(prefixes, 0, whole=1 << _BITS, bits=_BITS)


def ranges6(memory: memoryview, root: int) -> list[tuple[int, int]]:
    """(start, number) of each range of addresses, neighbours with equal numbers merged, in the table's body."""
    found: list[tuple[int, int]] = []
    for start, number in _walk(memory, enumerate(struct.unpack_from(f"<{_KEYS}I", memory, root)), 0, 1):
        if not found or found[-1][1] != number:
            found.append((start, number))
    return found


def _walk(memory: memoryview, entries: Iterable[tuple[int, int]], begin: int, step: int) -> Iterator[tuple[int, int]]:
    for key, entry in entries:
        at = begin | key << (_BITS - _STEP * step)
        if entry & 7 and step < _BITS // _STEP:
            yield from _walk(memory, _chunk(memory, entry), at, step + 1)
        else:
            yield at, entry >> 3


def _chunk(memory: memoryview, entry: int) -> list[tuple[int, int]]:
    """(start, entry) of a chunk's ranges, in the forms of table6.py."""
    form, at = entry & 7, entry & ~7
    if form == DENSE:
        return list(enumerate(struct.unpack_from(f"<{_KEYS}I", memory, at)))
    if form == SMALL:
        starts: tuple[int, ...] = struct.unpack_from("<7H", memory, at)
        entries = struct.unpack_from("<8I", memory, at + 16)
    else:
        count, values = struct.unpack_from("<II", memory, at)
        begin = at + 8
        if form == INDEXED:
            begin += _INDEX_BYTES
        starts = struct.unpack_from(f"<{count}H", memory, begin)
        entries = struct.unpack_from(f"<{count + 1}I", memory, at + values)
    found: list[tuple[int, int]] = []
    for start, value in zip((0, *starts), entries, strict=True):
        if found and found[-1][0] == start:
            found.pop()
        found.append((start, value))
    return found
