"""The forwarding table while it follows the kernel's: changed in place, by the one process that follows.

Nothing that a packet may be reading is written, but for single aligned words: an entry of the direct table, a next
hop's MAC, a bucket of a group. Chunks, next hops and buckets that are given up are used again after a grace period.
Who writes holds a lock on the folder of the pins, so that an apply and the follower do not meet.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rbops.common.hops import KERNEL, Answer, Far, Hop, Near, Spread
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.groups import buckets, shares
from rbops.dataplane.xdp.numbers import Entry, Numbers
from rbops.dataplane.xdp.pins import Loaded
from rbops.dataplane.xdp.prefixes import Prefixes
from rbops.dataplane.xdp.table import DIRECT_BYTES, Body, Full, ranges_of
from rbops.dataplane.xdp.table6 import Table6, lookup6
from rbops.dataplane.xdp.table6read import ranges6

__all__ = ["FOLLOWED", "Followed", "Outgrown", "locked"]

FOLLOWED = hashlib.sha256(b"rbops: follows the kernel's table").digest()
"""What a generation has for its table's digest while the table follows the kernel's."""

_NARROW = 256
_GROUP = Counter[Entry]
Groups = Iterable[tuple[Hop | None, list[int]]]
"""Prefixes by where they lead."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Alone with the generations of what is loaded below ``root``."""
    fd = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Followed:
    """The table of what is loaded. ``macs``: (port, address) of neighbours -> MAC, as the data plane writes it."""

    def __init__(self, loaded: Loaded, numbers: Numbers, wait: Callable[[], None]) -> None:
        self._loaded, self._of, self._wait = loaded, numbers, wait
        self._arena = loaded.memory("arena")
        self._words = self._arena[: len(self._arena) // 8 * 8].cast("Q")
        self._macs: dict[tuple[int, int], int] = {}
        self._ordered = platform.machine() in ("x86_64", "i686")
        self._start(loaded.active, 1)
        self.full: set[int] = set()

    def _start(self, generation: int, width: int) -> None:
        self._at = generation * self._loaded.layout.generation
        begin = self._at + shape.GENERATION_SIZE
        memory = self._arena[begin : begin + self._loaded.layout.body]
        self._body = Body(memory, width, (lambda: None) if self._ordered else self._wait)
        self._prefixes = Prefixes()
        self._prefixes6: Table6 | None = None
        self._number: dict[Hop, int] = {}
        self._hop: dict[int, Hop] = {}
        self._uses: dict[int, int] = {}
        self._next, self._spare, self._given_up = 1, [], []  # type: tuple[int, list[int], list[int]]
        self._places: dict[int, tuple[int, int]] = {}
        self._down: dict[int, frozenset[Near | Far | Answer]] = {}
        self._near: dict[tuple[int, int], int] = {}

    @property
    def serial(self) -> int:
        """Of the generation in use."""
        return self._loaded.head()[1]

    def __len__(self) -> int:
        return len(self._prefixes) + (0 if self._prefixes6 is None else len(self._prefixes6))

    @property
    def memory_bytes(self) -> tuple[int, int]:
        """(used, there) of the table's memory."""
        return DIRECT_BYTES + self._body.used, self._loaded.layout.body

    @property
    def failed(self) -> int:
        """/16s of IPv4 and nodes of IPv6 that did not fit in memory: their packets go to the kernel."""
        return len(self.full) + (0 if self._prefixes6 is None else len(self._prefixes6.failed))

    def fill(
        self,
        generation: int,
        entries: Groups,
        macs: Mapping[tuple[int, int], int],
        entries6: Groups | None = None,
    ) -> None:
        """Write the whole table into a generation that is not in use; ``entries6`` None: the router has no IPv6."""
        self._macs = dict(macs)
        wanted = [(hop, keys) for hop, keys in entries if hop is not None]
        wanted6 = [(hop, keys) for hop, keys in entries6 or () if hop is not None]
        distinct = {hop for hop, _ in (*wanted, *wanted6)}
        count = len(distinct) + sum(len(hop.members) for hop in distinct if isinstance(hop, Spread))
        self._start(generation, 1 if count + 16 < _NARROW else 2)
        begin = self._at + shape.NEXT_HOPS_AT
        self._arena[begin : begin + shape.MAX_NEXT_HOPS * shape.NEXT_HOP.size] = bytes(
            shape.MAX_NEXT_HOPS * shape.NEXT_HOP.size
        )
        body = self._at + shape.GENERATION_SIZE
        self._arena[body : body + DIRECT_BYTES] = bytes(DIRECT_BYTES)
        width = self._body.width
        struct.pack_into("<II", self._arena, self._at + 20, width - 1, (1 << 8 * width) - 1)
        dirty: set[int] = set()
        for hop, keys in wanted:
            self._set(keys, hop, dirty)
        self.full = self._body.write(sorted(dirty), self._prefixes, self._number_of(KERNEL))
        if entries6 is not None:
            self._begin6(wanted6)
        for (port, address), mac in macs.items():
            self._write_adjacency(port, address, mac)

    def _begin6(self, wanted: Groups) -> None:
        """The IPv6 part, in a generation that is not in use. Raises Outgrown."""
        try:
            self._prefixes6 = Table6(self._body)
        except Full as error:
            raise Outgrown("no memory for IPv6") from error
        for hop, keys in wanted:
            self._set6(self._prefixes6, keys, hop)
        self._prefixes6.write(self._number_of(KERNEL))
        struct.pack_into("<I", self._arena, self._at + shape.ROOT6_AT, self._prefixes6.at)

    def update(self, changes: Groups, changes6: Groups = ()) -> int:
        """Change routes in place; returns how many places were made anew. Raises Outgrown."""
        return self._update4(changes) + self._update6(changes6)

    def _update6(self, changes: Groups) -> int:
        table, any_of = self._prefixes6, False
        for hop, keys in changes:
            if table is None:
                raise Outgrown("no IPv6 yet")
            self._set6(table, keys, hop)
            any_of = True
        if table is None or not (any_of or table.failed):
            return 0
        if len(self._given_up) + self._body.left > _NARROW * 4:
            self.reclaim()
        return table.write(self._number_of(KERNEL))

    def _set6(self, table: Table6, keys: list[int], hop: Hop | None) -> None:
        number = None if hop is None else self._number_of(hop, table.get(keys[0] >> 8, keys[0] & 255))
        self._changed(table.put_all(keys, number), number)

    def _update4(self, changes: Groups) -> int:
        dirty: set[int] = set()
        for hop, keys in changes:
            self._set(keys, hop, dirty)
        if dirty:
            if len(self._given_up) + self._body.left > _NARROW * 4:
                self.reclaim()
            again = dirty | self.full
            self.full = self._body.write(sorted(again), self._prefixes, self._number_of(KERNEL))
        return len(dirty)

    def set_macs(self, macs: Mapping[tuple[int, int], int]) -> int:
        """Let neighbours have these MACs, and no others; returns how many changed."""
        changed = 0
        for place in {*macs, *self._macs}:
            mac = macs.get(place, 0)
            if mac == self._macs.get(place, 0):
                continue
            changed += 1
            number = self._near.get(place)
            if number is not None:
                self._words[(self._at + shape.NEXT_HOPS_AT) // 8 + 2 * number] = mac
            self._write_adjacency(*place, mac)
        self._macs = dict(macs)
        return changed

    def reclaim(self) -> None:
        """Use again what was given up, once no packet reads it."""
        if self._body.left or self._given_up:
            self._wait()
            self._body.reclaim()
            self._spare += self._given_up
            self._given_up = []

    def _write_adjacency(self, port: int, address: int, mac: int) -> None:
        at = self._of.planned.get((port, address))
        if at is not None:
            self._words[(self._at + shape.ADJACENCIES_AT) // 8 + at] = mac

    def _set(self, keys: list[int], hop: Hop | None, dirty: set[int]) -> None:
        number = None if hop is None else self._number_of(hop, self._prefixes.get(keys[0]))
        self._changed(self._prefixes.put_all(keys, number, dirty), number)

    def _changed(self, before: Mapping[int | None, int], number: int | None) -> None:
        """So many prefixes each led to ``before``, and all lead to ``number``."""
        if number is not None:
            self._uses[number] += sum(before.values())
        for old, count in before.items():
            if old is not None:
                self._drop(old, count)

    def _drop(self, number: int, count: int = 1) -> None:
        self._uses[number] -= count
        if self._uses[number] or self._hop[number] == KERNEL:
            return
        hop = self._hop.pop(number)
        del self._number[hop], self._uses[number]
        self._given_up.append(number)
        if isinstance(hop, Near):
            self._near.pop((hop.port, hop.address), None)
        if isinstance(hop, Spread):
            self._body.leave(self._places.pop(number))
            del self._down[number]
            for member, _ in hop.members:
                self._drop(self._number[member])

    def _number_of(self, hop: Hop, before: int | None = None) -> int:
        """A hop's number; made where there is none. A group begins with the buckets of ``before``, what was there."""
        base = replace(hop, down=frozenset()) if isinstance(hop, Spread) else hop
        number = self._number.get(base)
        if number is None:
            number = self._make(base, before)
        if isinstance(hop, Spread) and self._down[number] != hop.down:
            self._fill_group(number, hop)
            self._down[number] = hop.down
        return number

    def _take_number(self) -> int:
        limit = _NARROW if self._body.width == 1 else shape.MAX_NEXT_HOPS
        if not self._spare and self._next >= limit and self._given_up:
            self.reclaim()
        if self._spare:
            return self._spare.pop()
        if self._next >= limit:
            raise Outgrown(f"{limit} next hops")
        self._next += 1
        return self._next - 1

    def _make(self, hop: Hop, found: int | None) -> int:
        number = self._take_number()
        if isinstance(hop, Spread):
            for member, _ in hop.members:
                self._uses[self._number_of(member)] += 1
            try:
                place = self._body.allocate(2 * shape.GROUP_BUCKETS)
            except Full as error:
                raise Outgrown("no memory for a group") from error
            before = self._before(found)
            weights = {self._number[member]: weight for member, weight in hop.members}
            self._buckets(place)[:] = memoryview(struct.pack("<256H", *buckets(weights, before))).cast("H")
            self._places[number] = place
            self._down[number] = frozenset()
            entry = (place[0], shape.GROUP, 0, 0)
        else:
            entry = self._of.entry(hop, self._macs)
            if isinstance(hop, Near):
                self._near[hop.port, hop.address] = number
        shape.NEXT_HOP.pack_into(self._arena, self._at + shape.NEXT_HOPS_AT + number * shape.NEXT_HOP.size, *entry, 0)
        self._number[hop], self._hop[number], self._uses[number] = number, hop, 0
        return number

    def _buckets(self, place: tuple[int, int]) -> memoryview:
        at = self._at + shape.GENERATION_SIZE + place[0]
        return self._arena[at : at + 2 * shape.GROUP_BUCKETS].cast("H")

    def _before(self, found: int | None) -> Sequence[int]:
        if found is None or found not in self._places:
            return [] if found is None else [found] * shape.GROUP_BUCKETS
        return self._buckets(self._places[found]).tolist()

    def _fill_group(self, number: int, hop: Spread) -> None:
        """Give the buckets of members that are down to the others, one bucket at a time."""
        weights = {self._number[member]: weight for member, weight in hop.members if member not in hop.down}
        memory = self._buckets(self._places[number])
        have = memory.tolist()
        if Counter(have) == Counter(shares(weights)):
            return
        for at, member in enumerate(buckets(weights, have)):
            if have[at] != member:
                memory[at] = member

    # Reading back, from memory alone.

    def width(self) -> int:
        """Bytes of a next hop's number in chunks."""
        return int(struct.unpack_from("<I", self._arena, self._active + 20)[0]) + 1

    @property
    def _active(self) -> int:
        return self._loaded.active * self._loaded.layout.generation

    def read(self, top: int) -> list[tuple[int, int]]:
        """The ranges of a /16 as the data plane finds them: (start, number)."""
        begin = self._active + shape.GENERATION_SIZE
        return ranges_of(self._arena[begin : begin + self._loaded.layout.body], top, self.width())

    def read_direct(self) -> array[int]:
        """The direct table."""
        begin = self._active + shape.GENERATION_SIZE
        return array("I", bytes(self._arena[begin : begin + DIRECT_BYTES]))

    def read6(self) -> list[tuple[int, int]] | None:
        """The ranges of all IPv6 addresses as the data plane finds them: (start, number); None without IPv6."""
        (root,) = struct.unpack_from("<I", self._arena, self._active + shape.ROOT6_AT)
        begin = self._active + shape.GENERATION_SIZE
        return ranges6(self._arena[begin : begin + self._loaded.layout.body], root) if root else None

    def find6(self, address: int) -> int | None:
        """The number of an IPv6 address' next hop; None where the table has no IPv6 part."""
        (root,) = struct.unpack_from("<I", self._arena, self._active + shape.ROOT6_AT)
        begin = self._active + shape.GENERATION_SIZE
        return lookup6(self._arena[begin : begin + self._loaded.layout.body], root, address) if root else None

    def read_entry(self, number: int) -> Entry:
        """A next hop as the data plane has it."""
        at = self._active + shape.NEXT_HOPS_AT + number * shape.NEXT_HOP.size
        return shape.NEXT_HOP.unpack_from(self._arena, at)[:4]

    def read_hop(self, number: int) -> Entry | _GROUP:
        """A next hop, or a group's with their numbers of buckets."""
        entry = self.read_entry(number)
        if entry[1] != shape.GROUP:
            return entry
        at = self._active + shape.GENERATION_SIZE + entry[0]
        return Counter(self.read_entry(member) for member in struct.unpack_from("<256H", self._arena, at))

    def expected(self, hop: Hop | None, macs: Mapping[tuple[int, int], int]) -> Entry | _GROUP:
        """What :meth:`read_hop` is to find for a hop."""
        if hop is None:
            return 0, shape.NO_ROUTE, 0, 0
        if not isinstance(hop, Spread):
            return self._of.entry(hop, macs)
        up = [(member, weight) for member, weight in hop.members if member not in hop.down]
        parts = shares({at: weight for at, (_, weight) in enumerate(up)})
        found: _GROUP = Counter()
        for at, count in parts.items():
            found[self._of.entry(up[at][0], macs)] += count
        return found


class Outgrown(Exception):
    """The table must be written anew: wider numbers, or memory in one piece."""
