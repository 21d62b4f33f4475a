"""The table that follows the kernel's, as rbops-node asks for it: opened, changed, compared and searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any

from rbops.common.hops import Hop
from rbops.common.unnumbered import ANY_LINK_LOCAL
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.followed import FOLLOWED, Followed, Groups, Outgrown, locked
from rbops.dataplane.xdp.layout import mac_number
from rbops.dataplane.xdp.numbers import Entry, Numbers, answer_text
from rbops.dataplane.xdp.pins import Loaded, Pins
from rbops.dataplane.xdp.prefixes import Prefixes
from rbops.dataplane.xdp.table6read import painted6
from rbops.errors import Mismatch
from rbops.node.fabric import adjacency_of, adjacency_of6
from rbops.node.rib import Rib
from rbops.node.ways import Ports, address_text

__all__ = ["XdpTable", "filling", "numbers_of", "ports_of"]


_ANY = int(IPv6Address(ANY_LINK_LOCAL))


def ports_of(config: XdpConfig, devices: Mapping[str, str]) -> Ports:
    """The data ports by the names of their devices; ``devices``: planned port -> device."""
    fabric = config.fabric
    external = {devices.get(port.name, port.name): port.id for port in fabric.ports if port.id is not None}
    internal = frozenset(devices.get(port.name, port.name) for port in fabric.ports if port.kind == "internal")
    return Ports(external, internal, fabric.owners, fabric.server, _far, ipv6=config.ipv6, unnamed=_unnamed(config))


def _unnamed(config: XdpConfig) -> dict[int, frozenset[int]]:
    """See :attr:`Ports.unnamed`."""
    known = () if config.follow is None else config.follow.neighbors
    ports = {port for port, _, address in known if address == _ANY}
    return {port: frozenset(address for other, _, address in known if other == port) for port in ports}


def _far(address: int) -> tuple[int, int] | None:
    return adjacency_of6(address) if address >> 32 else adjacency_of(address)


def numbers_of(config: XdpConfig) -> Numbers:
    """What next hops are made of."""
    return Numbers.of(config.fabric, () if config.follow is None else config.follow.neighbors)


def macs_of(ribs: Iterable[Rib], ports: Ports) -> dict[tuple[int, int], int]:
    """(port, address) of every neighbour on an external port whose MAC is known -> MAC, as the data plane writes it."""
    ribs, found = tuple(ribs), {}
    for rib in ribs:
        for (device, address), mac in rib.neighbors.items():
            link = rib.links.get(device)
            port = None if link is None else ports.external.get(link.name)
            if port is not None:
                found[port, address] = mac_number(mac)
    return found | _macs_of_unnamed(ribs, ports, found)


def _macs_of_unnamed(
    ribs: Iterable[Rib], ports: Ports, known: Mapping[tuple[int, int], int]
) -> dict[tuple[int, int], int]:
    """Of neighbours that are known by their port alone: the link-local address there that routes lead to."""
    found: dict[tuple[int, int], int] = {}
    if not ports.unnamed:
        return found
    hops = {(hop.port, hop.address) for rib in ribs for hop in rib.near_hops() if hop.address >> 118 == _ANY >> 118}
    for port, named in ports.unnamed.items():
        there = sorted(address for number, address in hops if number == port and (port, address) in known)
        # A static route of the spec may name the same router.
        for address in [address for address in there if address not in named][:1] or there[:1]:
            found[port, _ANY] = known[port, address]
    return found


def filling(ribs: Sequence[Rib], ports: Ports) -> tuple[Groups, dict[tuple[int, int], int], Groups | None]:
    """What :meth:`Followed.fill` makes of the kernel's tables."""
    groups = [rib.by_hop(rib.all()) for rib in ribs]
    return groups[0], macs_of(ribs, ports), groups[1] if ribs[1:] else None


class XdpTable:
    """Opened anew whenever something else was loaded or activated: then the whole table is written once more."""

    def __init__(
        self,
        pins: Pins,
        numbers: Numbers,
        ports: Ports,
        rewrite: Callable[[Loaded, Callable[[int], None]], None],
        wait: Callable[[], None],
    ) -> None:
        self.ports = ports
        self._pins, self._numbers, self._rewrite, self._wait = pins, numbers, rewrite, wait
        self._open: tuple[object, int, Followed] | None = None

    def update(self, ribs: Sequence[Rib], changes: Sequence[Groups]) -> int:
        """Take changes over, in place where that is possible; returns how many places changed (65,536: all anew).

        Mismatch (3) while nothing is loaded that follows.
        """
        with self._locked():
            table = self._current()
            if table is None:
                return self._renew(ribs)
            try:
                changed = table.update(*changes)
            except Outgrown:
                return self._renew(ribs)
            return changed + table.set_macs(macs_of(ribs, self.ports))

    def renew(self, ribs: Sequence[Rib]) -> None:
        """Write the whole table."""
        with self._locked():
            self._renew(ribs)

    def is_current(self) -> bool:
        """Whether what is loaded is still what was written here."""
        return self._current() is not None

    def reclaim(self) -> None:
        """Use again what was given up."""
        with self._locked():
            if (table := self._current()) is not None:
                table.reclaim()

    def facts(self) -> dict[str, Any]:
        """Routes in the table, its memory, and how much of the table did not fit (see :attr:`Followed.failed`)."""
        table = self._opened()
        used, room = table.memory_bytes
        return {"prefixes": len(table), "memory_bytes": used, "room_bytes": room, "full": table.failed}

    def compare(self, ribs: Sequence[Rib], most: int = 100) -> tuple[int, list[dict[str, str]]]:
        """Every address' way by ``ribs`` and in memory: how many ranges differ, and the first of them."""
        table = self.reading()
        macs = macs_of(ribs, self.ports)
        count = 0
        listed: list[dict[str, str]] = []
        for first, last, want, have in self._differing(table, ribs, macs):
            count += 1
            if len(listed) < most:
                addresses = f"{address_text(first)}-{address_text(last)}"
                listed.append({"addresses": addresses, "kernel": self._text(want), "data_plane": self._text(have)})
        return count, listed

    @staticmethod
    def _differing(
        table: Followed, ribs: Sequence[Rib], macs: Mapping[tuple[int, int], int]
    ) -> Iterator[tuple[int, int, Any, Any]]:
        found: dict[int, Any] = {}

        def reading(number: int) -> Any:
            if number not in found:
                found[number] = table.read_hop(number)
            return found[number]

        wanted, hops = _wanted(ribs[0])
        expected = {number: table.expected(hop, macs) for number, hop in hops.items()}
        for top, entry in enumerate(table.read_direct()):
            leaf = entry & 7 == 0 and top not in wanted.fine
            mine = [(0, wanted.base[top])] if leaf else wanted.ranges(top)
            theirs = [(0, entry >> 3)] if leaf else table.read(top)
            for start, end, number, have in _overlaps(mine, theirs):
                if not _alike(reading(have), expected[number]):
                    yield top << 16 | start, top << 16 | end - 1, expected[number], reading(have)
        for rib in ribs[1:]:
            mine, hops = _wanted6(rib)
            expected = {number: table.expected(hop, macs) for number, hop in hops.items()}
            for start, end, number, have in _overlaps(mine, table.read6() or [(0, 0)], 1 << 128):
                if not _alike(reading(have), expected[number]):
                    yield start, end - 1, expected[number], reading(have)

    def get(self, address: int) -> dict[str, Any]:
        """What the data plane does with packets for an address."""
        table = self.reading()
        low = address & 0xFFFF
        number = next(number for start, number in reversed(table.read(address >> 16)) if start <= low)
        return {"number": number, "entry": self._text(table.read_hop(number))}

    def get6(self, address: int) -> dict[str, Any]:
        """What the data plane does with packets for an IPv6 address."""
        table = self.reading()
        number = table.find6(address)
        if number is None:
            return {"number": None, "entry": "the router has no IPv6: the kernel"}
        return {"number": number, "entry": self._text(table.read_hop(number))}

    def _text(self, entry: Any) -> str:
        names = {at: port.name for at, port in enumerate(self._numbers.fabric.ports)}
        if isinstance(entry, tuple):
            return answer_text(entry, names)
        parts: list[tuple[Entry, int]] = sorted(entry.items(), key=repr)
        return "spread: " + ", ".join(f"{answer_text(part, names)} x{share}" for part, share in parts)

    def _locked(self) -> Any:
        if not self._pins.root.is_dir():
            raise _not_loaded(self._pins)
        return locked(self._pins.root)

    def _current(self) -> Followed | None:
        if self._open is None or self._pins.instance() != self._open[0]:
            return None
        return self._open[2] if self._open[2].serial == self._open[1] else None

    def _opened(self) -> Followed:
        if self._open is None:
            raise _not_loaded(self._pins)
        return self._open[2]

    def reading(self) -> Followed:
        """What is loaded, to be read alone; Mismatch (3) when nothing is."""
        loaded = self._pins.load()
        if loaded is None:
            raise _not_loaded(self._pins)
        return Followed(loaded, self._numbers, self._wait)

    def _renew(self, ribs: Sequence[Rib]) -> int:
        loaded = self._pins.load()
        if loaded is None or loaded.head()[2] != FOLLOWED:
            self._open = None
            raise _not_loaded(self._pins)
        table = Followed(loaded, self._numbers, self._wait)
        self._rewrite(loaded, lambda idle: table.fill(idle, *filling(ribs, self.ports)))
        self._open = self._pins.instance(), table.serial, table
        return 65536


def _not_loaded(pins: Pins) -> Mismatch:
    return Mismatch(
        f"no router whose table follows the kernel's is loaded below {pins.root}",
        hint="rbops-node apply",
        code="xdp.not-followed",
    )


def _alike(have: Any, want: Any) -> bool:
    """Whether a next hop is the same; of a group the members, with a bucket more or less."""
    if isinstance(have, tuple) or isinstance(want, tuple):
        return bool(have == want)
    return have.keys() == want.keys() and all(abs(have[part] - want[part]) <= 1 for part in have)


def _numbered(rib: Rib) -> tuple[list[tuple[int, list[int]]], dict[int, Hop | None]]:
    """A table's prefixes by numbers of next hops, and what the numbers are."""
    groups = [(hop, keys) for hop, keys in rib.by_hop(rib.all()) if hop is not None]
    hops: dict[int, Hop | None] = {0: None, **{number: hop for number, (hop, _) in enumerate(groups, 1)}}
    return [(number, keys) for number, (_, keys) in enumerate(groups, 1)], hops


def _wanted(rib: Rib) -> tuple[Prefixes, dict[int, Hop | None]]:
    prefixes, dirty = Prefixes(), set[int]()
    groups, hops = _numbered(rib)
    for number, keys in groups:
        prefixes.put_all(keys, number, dirty)
    return prefixes, hops


def _wanted6(rib: Rib) -> tuple[list[tuple[int, int]], dict[int, Hop | None]]:
    """(start, number) of the ranges that an IPv6 table's prefixes make, and what the numbers are."""
    groups, hops = _numbered(rib)
    items = [(rib.network(key), rib.length(key), number) for number, keys in groups for key in keys]
    return painted6(sorted(items)), hops


def _overlaps(
    mine: list[tuple[int, int]], theirs: list[tuple[int, int]], whole: int = 0x10000
) -> Iterable[tuple[int, int, int, int]]:
    """(start, end, number of mine, of theirs) of every piece in which neither changes."""
    edges = sorted({*(start for start, _ in mine), *(start for start, _ in theirs)})
    left, right, a, b = dict(mine), dict(theirs), 0, 0
    for at, start in enumerate(edges):
        a, b = left.get(start, a), right.get(start, b)
        yield start, edges[at + 1] if at + 1 < len(edges) else whole, a, b
