"""A BPF ring buffer, read without libbpf's callbacks: a batch of records at a time.

Source: Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

from rbops.dataplane.xdp.libbpf import Map

__all__ = ["Ring"]

_BUSY, _DISCARD = 1 << 31, 1 << 30
_HEADER = struct.Struct("<II")
_POSITION = struct.Struct("<Q")


class Ring:
    """The consumer of a BPF_MAP_TYPE_RINGBUF map; one at a time."""

    def __init__(self, source: Map) -> None:
        self._size = source.max_entries
        self._consumer = mmap.mmap(source.fd, mmap.PAGESIZE)
        # The data pages come twice in a row, so that a record is never cut in two.
        self._producer = mmap.mmap(source.fd, mmap.PAGESIZE + 2 * self._size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)

    def records(self) -> Iterator[memoryview]:
        """What has come in so far, each valid until the next one is asked for."""
        view = memoryview(self._producer)
        at = _POSITION.unpack_from(self._consumer)[0]
        end = _POSITION.unpack_from(view)[0]
        try:
            while at < end:
                begin = mmap.PAGESIZE + at % self._size
                head = _HEADER.unpack_from(view, begin)[0]
                if head & _BUSY:
                    return
                length = head & ~_DISCARD
                if not head & _DISCARD:
                    yield view[begin + 8 : begin + 8 + length]
                at += (length + 8 + 7) & ~7
        finally:
            _POSITION.pack_into(self._consumer, 0, at)
