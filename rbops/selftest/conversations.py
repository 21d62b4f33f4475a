"""A capture's flows on the router's ports and routes: who sends to whom, with the order and the sizes of packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rbops.selftest.wire import FCS_BYTES, LARGEST_SIZE, smallest_size

__all__ = ["Conversations", "Mapped", "mapped"]


@dataclass(frozen=True, slots=True)
class Conversations:
    """The IPv4 packets of a capture in its order: (source host, destination host, flow, size without FCS), by number.

    ``name`` is the file's.
    """

    name: str
    packets: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """By tester, the frames that it sends in order: (destination, flow between the two, size with FCS).

    ``parts``: how much each sends beside the busiest, 0 to 1; ``busiest``: the most that arrives at one of them beside
    that. ``shared``: flows of the capture that are one flow of the router's with others, ``flows`` how many there are;
    ``moved``: packets whose hosts are behind one port, which are for the next one.
    """

    order: Mapping[int, tuple[tuple[int, int, int], ...]]
    parts: Mapping[int, float]
    busiest: float
    flows: int
    shared: int
    moved: int


def mapped(found: Conversations, testers: int, most: int, family: int = 4) -> Mapped:
    """Each host is behind one port: a new one behind the next in turn that its peer is not behind.

    Of two ports at most ``most`` flows differ in their headers; further ones take theirs in turn. ``testers``: two or
    more. The same capture is mapped alike each time.
    """
    hosts: dict[int, int] = {}
    turn = moved = 0
    order: dict[int, list[tuple[int, int, int]]] = {}
    numbers: dict[tuple[int, int, int], int] = {}
    between = Counter[tuple[int, int]]()
    for source, destination, flow, size in found.packets:
        for host, peer in ((source, destination), (destination, source)):
            if host not in hosts:
                if hosts.get(peer) == turn:
                    turn = (turn + 1) % testers
                hosts[host] = turn
                turn = (turn + 1) % testers
        near, far = hosts[source], hosts[destination]
        if near == far:
            far, moved = (far + 1) % testers, moved + 1
        key = (near, far, flow)
        if key not in numbers:
            numbers[key] = between[near, far]
            between[near, far] += 1
        length = min(LARGEST_SIZE, max(smallest_size(family), size + FCS_BYTES))
        order.setdefault(near, []).append((far, numbers[key] % most, length))
    shared = sum(max(0, count - most) for count in between.values())
    sent = {near: len(frames) for near, frames in order.items()}
    arriving = Counter(to for frames in order.values() for to, _, _ in frames)
    top = max(sent.values(), default=1)
    parts = {near: count / top for near, count in sent.items()}
    return Mapped(_whole(order), parts, max(arriving.values(), default=0) / top, len(numbers), shared, moved)


def _whole(order: Mapping[int, Sequence[tuple[int, int, int]]]) -> dict[int, tuple[tuple[int, int, int], ...]]:
    return {near: tuple(frames) for near, frames in sorted(order.items())}
