"""The flows of a phase: their headers as sent and as expected, and how many packets of each a generator made."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rbops.selftest.ports import AttachedTester
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.wire import FCS_BYTES, Epoch, FlowHeaders, headers, mac_bytes, pack_headers

__all__ = [
    "Traffic",
    "chunk_at",
    "expected_entries",
    "flows_per_pair",
    "generator_entries",
    "longest",
    "order_of",
    "sent_in_order",
    "sent_to",
    "ttl_of",
]


Order = Sequence[tuple[int, int, int]]
"""Frames of a source: (destination, flow, size with FCS)."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who sends to whom, by tester index; ``sizes`` of frames; ``pps`` and ``frames`` of each source.

    ``frames`` None: as many as fit into ``seconds``, in whole rounds over all flows. ``pps`` None: as fast
    as the tester can. ``chunk``: frames a generator sends without a look at the clock. ``flows`` between
    two testers; of those ``active`` at a time (None: all), each for ``burst`` packets in a row of turns:
    flows then begin and end as they do in a network, and come back much later. ``stamped``: the times of some packets
    are noted; ``timed``: when each chunk was sent is. ``only``: between (source, destination) only so many of the
    flows, which makes that pair's part of what the source sends. ``parts``: of ``pps``, by source, where it is not all.
    ``order``: by source, its frames one by one in place of turns, (destination, flow, size with FCS), again and again.
    """

    name: str
    sizes: FrameSizes
    destinations: Mapping[int, tuple[int, ...]]
    seconds: float
    pps: float | None
    frames: int | None = None
    chunk: int = 4096
    flows: int = 1
    active: int | None = None
    burst: int = 1
    stamped: bool = False
    timed: bool = False
    only: Mapping[tuple[int, int], int] = field(default_factory=dict)
    parts: Mapping[int, float] = field(default_factory=dict)
    order: Mapping[int, Order] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of the largest frame without FCS, as the kernel counts them."""
        return self.sizes.largest - FCS_BYTES

    def turns(self, source: int) -> tuple[tuple[int, int], ...]:
        """(destination, flow) in the order in which they take turns: each destination's evenly among the others'."""
        if self.order:
            return tuple(dict.fromkeys(order_of(self.order.get(source, ()))))
        counts = [(to, self.only.get((source, to), self.flows)) for to in self.destinations.get(source, ())]
        turns = [((flow + 0.5) / count, to, flow) for to, count in counts for flow in range(count)]
        return tuple((to, flow) for _, to, flow in sorted(turns, key=lambda turn: turn[0]))

    def steps(self, source: int) -> bytes:
        """The generator's table of ``order``: entry of :meth:`turns`, length, place in a pass, its frames in a pass."""
        order = self.order.get(source, ())
        entry = {turn: at for at, turn in enumerate(self.turns(source))} if order else {}
        count, seen = Counter(order_of(order)), Counter[tuple[int, int]]()
        packed = bytearray()
        for to, flow, size in order:
            packed += struct.pack("<4I", entry[to, flow], size - FCS_BYTES, seen[to, flow], count[to, flow])
            seen[to, flow] += 1
        return bytes(packed)


def order_of(order: Order) -> list[tuple[int, int]]:
    """(destination, flow) of each frame."""
    return [(to, flow) for to, flow, _ in order]


def sent_in_order(frames: int, order: Order, destination: int) -> int:
    """How many of ``frames`` that follow ``order`` again and again went to ``destination``."""
    passes, rest = divmod(frames, len(order))
    mine = [to == destination for to, _, _ in order]
    return passes * sum(mine) + sum(mine[:rest])


def chunk_at(pps: float | None) -> int:
    """Frames that a generator sends at once at this rate: a millisecond's worth.

    Not less than 8, because each call costs tens of microseconds; and not 64, because the socket that Click receives
    from holds no more than 51 frames of a page each (``net.core.rmem_default``, 212,992 bytes): a slow router would be
    tested with bursts that it loses at any rate.
    """
    return 4096 if pps is None else int(min(4096, max(8, pps / 1000)))


def flows_per_pair(testers: int, targets: int) -> int:
    """A flow for every destination address, and some more where testers are few.

    Not many more: packets of one flow that are far apart cannot overtake each other, and what could
    go wrong with their order would stay unseen.
    """
    return max(targets, min(16, max(4, 256 // (testers * testers))))


def ttl_of(flow: int, hops: int) -> int:
    """The TTL with which a flow is sent that loses ``hops`` of it: by flow in turn the usual one, the smallest that may
    pass, the largest, and one more.
    """
    values = (64, hops + 1, 255, 17)
    return values[flow % len(values)]


def _headers(source: AttachedTester, destination: AttachedTester, flow: int, *, at_exit: bool) -> FlowHeaders:
    target = destination.at.targets[flow % len(destination.at.targets)]
    hops = source.hops_to(destination.at)
    return FlowHeaders(
        destination_mac=mac_bytes(target.mac if at_exit else source.router_mac),
        source_mac=mac_bytes(destination.router_mac if at_exit else source.mac),
        source=source.at.address,
        destination=target.address,
        ttl=ttl_of(flow, hops) - (hops if at_exit else 0),
        flow=flow,
    )


def generator_entries(testers: Sequence[AttachedTester], source: int, traffic: Traffic, epoch: Epoch) -> bytes:
    """The generator's table, an entry a turn."""
    return b"".join(
        pack_headers(headers(_headers(testers[source], testers[to], flow, at_exit=False), epoch.length), to, flow)
        for to, flow in traffic.turns(source)
    )


def expected_entries(testers: Sequence[AttachedTester], own: int, traffic: Traffic, epoch: Epoch) -> dict[int, bytes]:
    """The sink's table: by source, for those that are to send to it, the headers of each flow."""
    out = {}
    for source, destinations in traffic.destinations.items():
        if own in destinations:
            shapes = (_headers(testers[source], testers[own], flow, at_exit=True) for flow in range(epoch.flows))
            out[source] = b"".join(pack_headers(headers(shape, epoch.length), own, shape.flow) for shape in shapes)
    return out


def sent_to(
    frames: int, turns: Sequence[tuple[int, int]], destination: int, active: int | None = None, burst: int = 1
) -> int:
    """How many of ``frames`` went to ``destination``; follows from the turns, see :class:`Traffic`.

    ``active`` turns at a time are ``burst`` rounds; round r of them all starts with its turn r.
    """
    active = active or len(turns)
    mine = [to == destination for to, _ in turns]
    cycles, rest = divmod(frames, len(turns) * burst)
    groups, rest = divmod(rest, active * burst)
    rounds, rest = divmod(rest, active)
    group, first = mine[groups * active : (groups + 1) * active], frames // active
    whole = cycles * burst * sum(mine) + burst * sum(mine[: groups * active]) + rounds * sum(group)
    return whole + sum(group[(first + turn) % active] for turn in range(rest))


def longest(frames: int, entries: int, burst: int = 1) -> int:
    """The highest number of packets in any flow, when ``frames`` go round ``entries`` flows in bursts."""
    return -(-frames // (entries * burst)) * burst
