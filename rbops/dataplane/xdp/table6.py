"""The IPv6 part of a forwarding table: prefixes to numbers of next hops, in the shape that fib6.h searches.

A tree of 16 bits a step. The root is an array of 65,536 entries; every other node is a chunk with the ranges of the
next 16 bits. An entry (32 bits) is a next hop's number, or leads to the node for the bits behind. A prefix of up to
32 bits takes two steps, a /48 three, and a node for /48s of one /32 is most often one cache line.

Changed in place as the IPv4 part (``table.py``): a node's chunk is made anew beside the old one, one aligned write
leads to it, and the old one is used again when no packet can be reading it. Standard library only.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from itertools import pairwise

from rbops.dataplane.xdp.prefixes import swept
from rbops.dataplane.xdp.table import Body, Full

__all__ = ["ROOT_BYTES", "Table6", "lookup6"]

LEAF, SMALL, SORTED, INDEXED, DENSE = range(5)
ROOT_BYTES = 65536 * 4
_BITS, _STEP = 128, 16
_LANES = 8
_SORTED_MOST, _INDEXED_MOST = 64, 16384
_INDEX = 260
_SMALL_BYTES = 64
_KEYS = 1 << _STEP


class _Node:
    """The ranges of 16 bits below the bits that lead here. ``base``: what the longest shorter prefix leads to.

    ``fine``: (length within the node << 16 | bits) -> number. ``entry`` is what leads here, 0 before it was written.
    """

    __slots__ = ("base", "children", "depth", "entry", "fine", "key", "parent", "place")

    def __init__(self, parent: _Node | None, key: int) -> None:
        self.parent, self.key = parent, key
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.fine: dict[int, int] = {}
        self.children: dict[int, _Node] = {}
        self.base = self.entry = 0
        self.place: tuple[int, int] | None = None

    def cover(self, key: int) -> int:
        """What the longest prefix that ends in this node leads to for 16 bits."""
        for length in range(_STEP, 0, -1):
            number = self.fine.get(length << _STEP | key >> (_STEP - length) << (_STEP - length))
            if number is not None:
                return number
        return self.base


class Table6:
    """Every IPv6 prefix and the number it leads to, 0 being no route; ``body`` is where chunks are.

    ``body`` None: prefixes alone, to be searched with :meth:`longest`.
    """

    def __init__(self, body: Body | None = None) -> None:
        self._body = body
        self._root = _Node(None, 0)
        self._count = 0
        self._dirty: dict[_Node, None] = {}  # ordered: equal changes give equal bytes
        self._keys: set[int] = set()
        self.failed: dict[_Node, None] = {}
        self._gone: list[tuple[int, int]] = []
        self.at = 0
        if body is not None:
            self.at, _ = body.allocate(ROOT_BYTES)
            body.clear(self.at, ROOT_BYTES)

    def __len__(self) -> int:
        return self._count

    def put(self, address: int, length: int, number: int | None) -> int | None:
        """Let a prefix lead to ``number``, None: take it out; returns what it led to before. :meth:`write` follows."""
        before = self.get(address, length)
        if before == number:
            return before
        self._count += (number is not None) - (before is not None)
        node = self._root
        if length == 0:
            # The root has no base of its own: 0 is no route, and a default route is one.
            _keep(node.fine, 0, number)
            self._rebase(node, number or 0)
            return before
        depth = (length - 1) // _STEP
        node = self._node(address, depth)
        rest, bits = length - _STEP * depth, address >> (_BITS - _STEP * (depth + 1)) & 0xFFFF
        self._keep(node, rest, bits, number)
        if number is None:
            self._prune(node)
        return before

    def _node(self, address: int, depth: int) -> _Node:
        """The node that an address' next 16 bits after ``depth`` steps are in, made where it is not there."""
        node = self._root
        for step in range(depth):
            key = address >> (_BITS - _STEP * (step + 1)) & 0xFFFF
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = _Node(node, key)
                child.base = node.cover(key)
                self._touch(node, key, 1)
            node = child
        return node

    def _keep(self, node: _Node, rest: int, bits: int, number: int | None) -> None:
        _keep(node.fine, rest << _STEP | bits, number)
        self._touch(node, bits, 1 << (_STEP - rest))
        if node.children:
            self._rebase_children(node, bits, 1 << (_STEP - rest))

    def put_all(self, keys: list[int], number: int | None) -> Counter[int | None]:
        """The same of several, address << 8 | length, none twice; returns how many that changed led to what before."""
        counts: Counter[int | None] = Counter()
        nodes: dict[int, _Node] = {}
        for key in keys:
            address, length = key >> 8, key & 255
            if number is None or not length:
                before = self.put(address, length, number)
                if before != number:
                    counts[before] += 1
                continue
            depth = (length - 1) // _STEP
            # The bits that lead to the node, and a one in front of them, which tells how many they are.
            place = (1 << _BITS | address) >> (_BITS - _STEP * depth)
            node = nodes.get(place)
            if node is None:
                node = nodes[place] = self._node(address, depth)
            rest, bits = length - _STEP * depth, address >> (_BITS - _STEP * (depth + 1)) & 0xFFFF
            before = node.fine.get(rest << _STEP | bits)
            if before != number:
                counts[before] += 1
                self._count += before is None
                self._keep(node, rest, bits, number)
        return counts

    def get(self, address: int, length: int) -> int | None:
        """What exactly this prefix leads to."""
        if length == 0:
            return self._root.fine.get(0)
        depth = (length - 1) // _STEP
        node: _Node | None = self._root
        for step in range(depth):
            node = None if node is None else node.children.get(address >> (_BITS - _STEP * (step + 1)) & 0xFFFF)
        bits = address >> (_BITS - _STEP * (depth + 1)) & 0xFFFF
        return None if node is None else node.fine.get((length - _STEP * depth) << _STEP | bits)

    def longest(self, address: int) -> tuple[int, int, int] | None:
        """(network, length, number) of the longest prefix that holds ``address``; None without one."""
        for length in range(_BITS, -1, -1):
            network = address >> (_BITS - length) << (_BITS - length)
            number = self.get(network, length)
            if number is not None:
                return network, length, number
        return None

    def write(self, instead: int = 0) -> int:
        """Make the changed nodes anew, deepest first, then lead to them. Returns how many entries of others changed.

        Nodes for which memory lacks lead to ``instead``; they are tried again the next time.
        """
        body = self._body
        if body is None:
            raise ValueError("prefixes alone")
        again = (node for node in self.failed if node.parent is not None and node.parent.children.get(node.key) is node)
        levels: list[dict[_Node, None]] = [{} for _ in range(_BITS // _STEP)]
        for node in (*self._dirty, *again):
            levels[node.depth][node] = None
        self.failed = {}
        words: list[tuple[int, int]] = []
        for depth in range(len(levels) - 1, 0, -1):
            for node in levels[depth]:
                self._renew(node, levels[depth - 1], words, instead)
        words += zip((self.at + 4 * key for key in self._keys), self._root_entries(), strict=True)
        body.lead(words)
        for place in self._gone:
            body.leave(place)
        changed = len(self._keys) + sum(map(len, levels))
        self._dirty.clear()
        self._keys.clear()
        self._gone.clear()
        return changed

    def _renew(self, node: _Node, above: dict[_Node, None], words: list[tuple[int, int]], instead: int) -> None:
        """Make a node anew, and note what leads to it: a word of the node above, or all of that one."""
        body, old, before, parent = self._body, node.place, node.entry, node.parent
        if body is None or parent is None:
            return
        node.place = None
        try:
            self._make(node, body)
        except Full:
            node.entry = instead << 3
            self.failed[node] = None
        if old is not None:
            self._gone.append(old)
        if parent is self._root:
            self._keys.add(node.key)
        elif parent in above:
            pass
        elif before & 7:
            words.append((_place_of(body.memory, parent.entry, node.key), node.entry))
        elif node.entry != before:
            # A number may stand in one range with its neighbours'.
            above[parent] = None

    # What has to be written.

    def _touch(self, node: _Node, bits: int, span: int) -> None:
        if node is self._root:
            self._keys.update(range(bits, bits + span))
        else:
            self._dirty[node] = None

    def _rebase(self, node: _Node, base: int) -> None:
        if node.base == base:
            return
        node.base = base
        self._touch(node, 0, _KEYS)
        self._rebase_children(node, 0, _KEYS)

    def _rebase_children(self, node: _Node, bits: int, span: int) -> None:
        if span < len(node.children):
            inside = [(key, node.children[key]) for key in range(bits, bits + span) if key in node.children]
        else:
            inside = [(key, child) for key, child in node.children.items() if bits <= key < bits + span]
        for key, child in inside:
            self._rebase(child, node.cover(key))

    def _prune(self, node: _Node) -> None:
        while node.parent is not None and not node.fine and not node.children:
            del node.parent.children[node.key]
            self._touch(node.parent, node.key, 1)
            self._dirty.pop(node, None)
            self.failed.pop(node, None)
            if node.place is not None:
                self._gone.append(node.place)
            node = node.parent

    # Shapes.

    def _root_entries(self) -> Iterator[int]:
        """Of the root's keys that changed, in the set's order."""
        root, whole = self._root, array("H")
        if len(self._keys) > _LANES * _SORTED_MOST:
            ranges = [*_numbers(root), (_KEYS, 0)]
            for (start, number), (end, _) in pairwise(ranges):
                whole.extend([number] * (end - start))
        for key in self._keys:
            child = root.children.get(key)
            if child is not None:
                yield child.entry
            else:
                yield (whole[key] if whole else root.cover(key)) << 3

    def _make(self, node: _Node, body: Body) -> None:
        ranges = _entries(node)
        if len(ranges) == 1:
            node.entry = ranges[0][1]
            return
        form, chunk = _encode(ranges)
        node.place = body.put(chunk, _SMALL_BYTES if form == SMALL else len(chunk))
        node.entry = node.place[0] | form


def _keep(table: dict[int, int], key: int, number: int | None) -> None:
    if number is None:
        table.pop(key, None)
    else:
        table[key] = number


def _numbers(node: _Node) -> list[tuple[int, int]]:
    """(start, number) of the ranges that a node's own prefixes make."""
    items = (
        (place & 0xFFFF, _STEP + (place >> _STEP), number) for place, number in node.fine.items() if place >> _STEP
    )
    return swept(sorted(items), node.base)


def _entries(node: _Node) -> list[tuple[int, int]]:
    """(start, entry) of a node's ranges, neighbours with equal entries merged."""
    ranges = [(start, number << 3) for start, number in _numbers(node)]
    if not node.children:
        return ranges
    found: list[tuple[int, int]] = []

    def begin(start: int, entry: int) -> None:
        if not found or found[-1][1] != entry:
            found.append((start, entry))

    keys = deque(sorted(node.children))
    for (start, entry), (end, _) in pairwise([*ranges, (_KEYS, 0)]):
        at = start
        while keys and keys[0] < end:
            key = keys.popleft()
            if key > at:
                begin(at, entry)
            begin(key, node.children[key].entry)
            at = key + 1
        if at < end:
            begin(at, entry)
    return found


def _encode(ranges: list[tuple[int, int]]) -> tuple[int, bytes]:
    """(form, chunk) of two ranges or more."""
    count = len(ranges) - 1
    starts = [start for start, _ in ranges[1:]]
    entries = [entry for _, entry in ranges]
    if count < _LANES:
        starts += [0xFFFF] * (_LANES - count)
        entries += [entries[-1]] * (_LANES - len(entries))
        return SMALL, struct.pack(f"<{_LANES}H{_LANES}I", *starts, *entries)
    if count > _INDEXED_MOST:
        words = array("I")
        for at, (start, entry) in enumerate(ranges):
            end = ranges[at + 1][0] if at < count else _KEYS
            words.extend([entry] * (end - start))
        return DENSE, words.tobytes()
    index = b""
    form = SORTED
    if count > _SORTED_MOST:
        before = [0] * _INDEX
        for start in starts:
            before[(start >> 8) + 1] += 1
        for octet in range(1, _INDEX):
            before[octet] += before[octet - 1]
        index, form = struct.pack(f"<{_INDEX}H", *before), INDEXED
    if count % 2:
        starts.append(0)
    head = struct.pack("<II", count, 8 + len(index) + 2 * len(starts))
    return form, head + index + struct.pack(f"<{len(starts)}H{len(entries)}I", *starts, *entries)


def _place_of(memory: memoryview, entry: int, key: int) -> int:
    """Where the chunk that ``entry`` leads to has the entry of 16 bits: as fib6.h looks for it."""
    form, at = entry & 7, entry & ~7
    if form == SMALL:
        starts = struct.unpack_from("<7H", memory, at)
        return at + 16 + 4 * sum(map(key.__ge__, starts))
    if form == DENSE:
        return at + 4 * key
    count, values = struct.unpack_from("<II", memory, at)
    first, begin = 0, at + 8
    if form == INDEXED:
        first, end = struct.unpack_from("<2H", memory, at + 8 + 2 * (key >> 8))
        count, begin = end - first, begin + 2 * _INDEX
    starts = struct.unpack_from(f"<{count}H", memory, begin + 2 * first)
    return at + int(values) + 4 * (int(first) + sum(map(key.__ge__, starts)))


def lookup6(memory: memoryview, root: int, address: int) -> int:
    """The next hop's number that the data plane finds for an address; ``memory`` is the table's body."""
    (entry,) = struct.unpack_from("<I", memory, root + 4 * (address >> (_BITS - _STEP)))
    for step in range(1, _BITS // _STEP):
        if not entry & 7:
            break
        key = address >> (_BITS - _STEP * (step + 1)) & 0xFFFF
        (entry,) = struct.unpack_from("<I", memory, _place_of(memory, entry, key))
    return int(entry) >> 3
