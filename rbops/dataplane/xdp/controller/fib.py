"""The forwarding table's compiler: prefixes to a blob that the data plane searches as it is.

A 16-bit direct table leads to one chunk per /16, in the smallest form that holds it, so that 256K
routes take about a megabyte and stay in a core's L2 cache:

    leaf    the whole /16 has one next hop, which stands in the direct table
    few     up to 8 ranges of /24s: 7 start octets in one word, compared at once, and 8 next hops
    some    up to 16 ranges: the same with two words
    bitmap  more ranges of /24s: a bit per /24 that starts a range, ranks by counting bits
    long    anything finer than /24: sorted 16-bit starts, binary search

After DXR (Zec, Rizzo, Mikuc 2012: ranges under a direct table) and Poptrie (Asai, Ohara 2015: bit
counting). Next hops are numbers into a table of values, one byte each while they are at most 256.

Blob, little-endian: ``HEADER``, then the values (uint32 each, number 0 is "no route"), padding to 64
bytes, then the direct table (65536 uint32: form in bits 0-2, next hop or offset/8 above) and the
chunks; offsets count from the direct table's start. IPv6 routes follow in the form of ``table6.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.dataplane.xdp.table import Body
from rbops.dataplane.xdp.table6 import ROOT_BYTES, Table6
from rbops.errors import UsageError

__all__ = ["HEADER", "MAGIC", "NO_ROUTE", "VERSION", "compile_fib", "lookup"]

MAGIC = b"RBFIB\0\0\0"
VERSION = 1
HEADER = struct.Struct("<8sIIIIII28x")
"""magic, version, routes, number of values, bytes per next-hop number (1 or 2), bytes of direct table and chunks, and
where in these the IPv6 part begins (0: there is none).
"""

NO_ROUTE = 0xFFFFFFFF
LEAF, FEW, SOME, BITMAP, LONG = range(5)
MAX_NEXT_HOPS = 16384

_CHUNKS = 65536
_DIRECT_BYTES = 4 * _CHUNKS
_NARROW = 256
_PAGE, _CLASSES = 4096, 64
_MOST_OF_A_ROUTE = 8 * 64
_LANES = {FEW: 8, SOME: 16}
_BITMAP_HEAD, _LONG_HEAD = 40, 8

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Every /16's ranges: start address, next hop number; ``first`` and ``count`` per /16."""

    starts: Array
    hops: Array
    first: Array
    count: Array


Routes6 = Sequence[tuple[int, int, int]]
"""IPv6 routes: (network, length, value)."""


def compile_fib(prefixes: Array, lengths: Array, values: Array, routes6: Routes6 = ()) -> bytes:
    """Compile routes to the blob; bits of a prefix below its length are ignored, the last of equals wins.

    ``prefixes`` uint32, ``lengths`` 0 to 32, ``values`` uint32 (``PP << 16 | AA``). Raises UsageError for
    arrays of different length, a length over 32, or more than 16,383 different values.
    """
    if not len(prefixes) == len(lengths) == len(values):
        raise UsageError(
            f"{len(prefixes)} prefixes, {len(lengths)} lengths and {len(values)} values do not match", code="fib.shape"
        )
    lengths = np.asarray(lengths).astype(np.int64)
    if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= 32:  # noqa: PLR2004
        raise UsageError(f"prefix lengths go from 0 to 32, not {lengths.min()} to {lengths.max()}", code="fib.length")
    own = np.asarray(values).astype(np.uint32)
    distinct, hops = np.unique(
        np.concatenate([own, np.array([value for _, _, value in routes6], np.uint32)]), return_inverse=True
    )
    if len(distinct) >= MAX_NEXT_HOPS:
        raise UsageError(
            f"{len(distinct)} different next hops; the data plane holds {MAX_NEXT_HOPS - 1}", code="fib.next-hops"
        )
    starts, owners = _flatten(np.asarray(prefixes).astype(np.int64), lengths, hops.reshape(-1)[: len(own)] + 1)
    table = np.concatenate([np.array([NO_ROUTE], np.uint32), distinct])
    width = 1 if len(table) <= _NARROW else 2
    body = _emit(_split(starts, owners), width)
    root6 = 0
    if routes6:
        numbers = {value: number for number, value in enumerate(distinct.tolist(), 1)}
        body, root6 = _with_ipv6(body, [(network, length, numbers[value]) for network, length, value in routes6])
    count = len(lengths) + len(routes6)
    head = HEADER.pack(MAGIC, VERSION, count, len(table), width, len(body), root6) + table.astype("<u4").tobytes()
    return head + bytes(-len(head) % 64) + body


def _with_ipv6(body: bytes, routes: Routes6) -> tuple[bytes, int]:
    """The table with its IPv6 part behind it, and where that begins; routes lead to numbers of next hops."""
    start = -(-len(body) // _PAGE) * _PAGE
    # A route takes two ranges at most in each of the nodes on its way, of which the first few are shared.
    memory = bytearray(start + ROOT_BYTES + _MOST_OF_A_ROUTE * len(routes) + _PAGE * _CLASSES)
    memory[: len(body)] = body
    place = Body(memoryview(memory), 1, start=start)
    table = Table6(place)
    for network, length, number in routes:
        table.put(network, length, number)
    table.write()
    return bytes(memory[: place.end]), table.at


def _flatten(prefixes: Array, lengths: Array, hops: Array) -> tuple[Array, Array]:
    """Disjoint ranges (start, next hop number) that cover all addresses, equal neighbours merged."""
    sizes = np.int64(1) << (32 - lengths)
    begins = prefixes & ~(sizes - 1)
    edges = np.unique(np.concatenate([begins, begins + sizes, [0]]))
    edges = edges[edges < 1 << 32]
    owners = np.zeros(len(edges), np.uint16)
    low = np.searchsorted(edges, begins)
    spans = np.searchsorted(edges, begins + sizes) - low
    # Short prefixes first, longer ones paint over them; within one length they are disjoint.
    for length in np.unique(lengths):
        chosen = np.nonzero(lengths == length)[0]
        span = spans[chosen]
        offsets = np.arange(span.sum()) - np.repeat(np.cumsum(span) - span, span)
        owners[np.repeat(low[chosen], span) + offsets] = np.repeat(hops[chosen], span)
    keep = np.concatenate([[True], owners[1:] != owners[:-1]])
    return edges[keep], owners[keep]


def _split(starts: Array, owners: Array) -> _Ranges:
    """Cut the ranges at every /16."""
    cuts = np.arange(_CHUNKS, dtype=np.int64) << 16
    edges = np.union1d(starts, cuts)
    hops = owners[np.searchsorted(starts, edges, side="right") - 1]
    count = np.bincount(edges >> 16, minlength=_CHUNKS)
    return _Ranges(edges, hops, np.cumsum(count) - count, count)


def _emit(ranges: _Ranges, width: int) -> bytes:
    """The direct table and the chunks, those of one form together so that they stay aligned."""
    fine = np.zeros(_CHUNKS, bool)
    fine[(ranges.starts[(ranges.starts & 0xFF) != 0]) >> 16] = True
    limits = [ranges.count <= 1, fine, ranges.count <= _LANES[FEW], ranges.count <= _LANES[SOME]]
    form = np.select(limits, [LEAF, LONG, FEW, SOME], BITMAP)
    direct = np.where(form == LEAF, ranges.hops[ranges.first].astype(np.int64) << 3, 0)
    parts, offset = [], _DIRECT_BYTES
    for kind in (FEW, SOME, BITMAP, LONG):
        chunks = np.nonzero(form == kind)[0]
        sizes = _sizes(kind, ranges.count[chunks], width)
        offsets = np.cumsum(sizes) - sizes
        direct[chunks] = (offset + offsets) // 8 << 3 | kind
        part = _pack(kind, ranges, chunks, offsets, int(sizes.sum()), width)
        offset += len(part)
        parts.append(part)
    return direct.astype("<u4").tobytes() + b"".join(parts)


def _sizes(kind: int, count: Array, width: int) -> Array:
    """Bytes per chunk, multiples of 8."""
    if kind in _LANES:
        return np.full(len(count), _LANES[kind] * (1 + width), np.int64)
    used = _BITMAP_HEAD + count * width if kind == BITMAP else _LONG_HEAD + 4 * count
    return (used + 7) // 8 * 8


def _pack(kind: int, ranges: _Ranges, chunks: Array, offsets: Array, size: int, width: int) -> bytes:
    if kind in _LANES:
        return _pack_lanes(ranges, chunks, _LANES[kind], width)
    out = np.zeros(-(-size // 64) * 64, np.uint8)
    count, first = ranges.count[chunks], ranges.first[chunks]
    rank = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    index = np.repeat(first, count) + rank
    hops, base = ranges.hops[index].astype(np.uint16), np.repeat(offsets, count)
    if kind == BITMAP:
        _scatter(out, base + _BITMAP_HEAD + rank * width, hops, width)
        bits = np.zeros((len(chunks), 256), bool)
        bits.reshape(-1)[np.repeat(np.arange(len(chunks)) * 256, count) + (ranges.starts[index] >> 8 & 0xFF)] = True
        bits[:, 0] = False  # the range that starts the chunk is not counted
        words = bits.reshape(-1, 4, 64).sum(axis=2)
        ranks = (np.cumsum(words, axis=1) - words).astype(np.uint8)
        out[offsets[:, None] + np.arange(4)] = ranks
        out[offsets[:, None] + 8 + np.arange(32)] = np.packbits(bits, axis=1, bitorder="little")
    else:
        _scatter(out, offsets, count.astype(np.uint32), 4)
        _scatter(out, base + _LONG_HEAD + 4 * rank, (ranges.starts[index] & 0xFFFF).astype(np.uint16), 2)
        _scatter(out, base + _LONG_HEAD + 4 * rank + 2, hops, 2)
    return out.tobytes()


def _pack_lanes(ranges: _Ranges, chunks: Array, lanes: int, width: int) -> bytes:
    """Start octets of all ranges but the first, the last lane unused; then the next hops, the last repeated."""
    first, last = ranges.first[chunks][:, None], (ranges.first + ranges.count - 1)[chunks][:, None]
    index = first + np.arange(lanes)
    hops = ranges.hops[np.minimum(index, last)].astype(f"<u{width}")
    starts = np.where(index + 1 <= last, ranges.starts[np.minimum(index + 1, last)] >> 8 & 0xFF, 0xFF).astype(np.uint8)
    starts[:, -1] = 0xFF
    packed = np.concatenate([starts, hops.view(np.uint8).reshape(len(chunks), lanes * width)], axis=1).tobytes()
    return packed + bytes(-len(packed) % 64)


def _scatter(out: Array, where: Array, numbers: Array, width: int) -> None:
    """Write little-endian ``numbers`` of ``width`` bytes at the byte offsets ``where``."""
    raw = numbers.astype(f"<u{width}").view(np.uint8).reshape(-1, width)
    for byte in range(width):
        out[where + byte] = raw[:, byte]


def lookup(blob: bytes, addresses: Array) -> Array:
    """What the data plane finds for each address: the route's value, or ``NO_ROUTE``. Reads the blob as it does.

    Raises UsageError when the blob is of another version.
    """
    magic, version, _routes, count, width, size, _ = HEADER.unpack_from(blob)
    if (magic, version) != (MAGIC, VERSION):
        raise UsageError("not a forwarding table of this version of rbops", code="fib.format")
    at = HEADER.size + 4 * count
    values, at = np.frombuffer(blob, "<u4", count, HEADER.size), at + -at % 64
    body = np.frombuffer(blob, np.uint8, size, at)
    direct = body[:_DIRECT_BYTES].view("<u4")
    find = {FEW: _find_lanes(8), SOME: _find_lanes(16), BITMAP: _find_bitmap, LONG: _find_long}
    result = np.empty(len(addresses), np.uint32)
    for number, address in enumerate(np.asarray(addresses).astype(np.int64).tolist()):
        entry = int(direct[address >> 16])
        kind, rest = entry & 7, entry >> 3
        hop = rest if kind == LEAF else find[kind](body[rest * 8 :], address & 0xFFFF, width)
        result[number] = values[hop]
    return result


def _hop(chunk: Array, at: int, width: int) -> int:
    return int.from_bytes(chunk[at : at + width].tobytes(), "little")


def _find_lanes(lanes: int) -> Any:
    def find(chunk: Array, low: int, width: int) -> int:
        rank = int((chunk[: lanes - 1] <= low >> 8).sum())
        return _hop(chunk, lanes + rank * width, width)

    return find


def _find_bitmap(chunk: Array, low: int, width: int) -> int:
    word, bit = divmod(low >> 8, 64)
    bits = int.from_bytes(chunk[8 + 8 * word : 16 + 8 * word].tobytes(), "little") & ((2 << bit) - 1)
    return _hop(chunk, _BITMAP_HEAD + (int(chunk[word]) + bits.bit_count()) * width, width)


def _find_long(chunk: Array, low: int, width: int) -> int:
    del width
    count = _hop(chunk, 0, 4)
    pairs = chunk[_LONG_HEAD : _LONG_HEAD + 4 * count].view("<u2").reshape(-1, 2)
    return int(pairs[np.searchsorted(pairs[:, 0], low, side="right") - 1, 1])
