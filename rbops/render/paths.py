"""Which neighbour a server's frames for another server leave by, in any topology: shortest paths, evenly loaded.

Every server knows one neighbour for each server that owns ports. On its way to a server a frame comes one cable nearer
with each hop, so that no frame goes in a circle, whoever sent it and wherever it turned. Of neighbours that are equally
near the one is taken whose cables have the least to carry when all owners of ports send each other the same, as VLB
makes them do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

__all__ = ["Cables", "loads", "neighbors"]

Cables = Mapping[int, Mapping[int, int]]
"""Server -> linked server -> how many cables."""

_ROUNDS = 3


def neighbors(cables: Cables, owners: AbstractSet[int]) -> dict[int, dict[int, int]]:
    """For each of ``owners``: every server that can reach it -> its neighbour towards it."""
    paths = _Paths(cables, owners)
    for attempt in range(_ROUNDS):
        for to in sorted(owners):
            if attempt:
                paths.remove(to)
            paths.add(to)
    return paths.towards


def loads(cables: Cables, towards: Mapping[int, Mapping[int, int]]) -> dict[tuple[int, int], float]:
    """What each cable carries, (from, to), when all owners send each other 1."""
    found: dict[tuple[int, int], float] = {}
    for to, tree in towards.items():
        for source in towards:
            here = source
            while here != to and here in tree:
                found[here, tree[here]] = found.get((here, tree[here]), 0) + 1 / cables[here][tree[here]]
                here = tree[here]
    return found


class _Paths:
    """The trees towards the owners so far, and what each link carries by them, in sources."""

    def __init__(self, cables: Cables, owners: AbstractSet[int]) -> None:
        self._cables, self._owners = cables, owners
        self._load: dict[tuple[int, int], int] = {}
        self._distance = {to: _distances(cables, to) for to in owners}
        self.towards: dict[int, dict[int, int]] = {}

    def remove(self, to: int) -> None:
        self._carry(to, self.towards.pop(to), -1)

    def add(self, to: int) -> None:
        """From the farthest servers on: what a server carries is known when its own neighbour is chosen."""
        far, tree = self._distance[to], {}
        weight = {server: int(server in self._owners) for server in far}
        # Whoever has the fewest neighbours to choose from chooses first.
        order = sorted(far, key=lambda server: (-far[server], len(self._nearer(server, far)), (server - to) % len(far)))
        for server in order:
            if server == to:
                continue
            tree[server] = self._best(server, far, weight)
            weight[tree[server]] += weight[server]
        self.towards[to] = tree
        self._carry(to, tree, 1)

    def _nearer(self, server: int, far: Mapping[int, int]) -> Sequence[int]:
        return [near for near in self._cables[server] if far[near] < far[server]]

    def _best(self, server: int, far: Mapping[int, int], weight: Mapping[int, int]) -> int:
        def cost(near: int) -> tuple[float, float, int]:
            mine = self._cost(server, near, weight[server])
            behind = [self._cost(near, next_one, weight[near] + weight[server]) for next_one in self._nearer(near, far)]
            worst = max(mine, min(behind, default=0))
            return worst, mine + min(behind, default=0), (near - server) % len(far)

        return min(self._nearer(server, far), key=cost)

    def _cost(self, server: int, near: int, more: int) -> float:
        return (self._load.get((server, near), 0) + more) / self._cables[server][near]

    def _carry(self, to: int, tree: Mapping[int, int], sign: int) -> None:
        for source in self._owners - {to}:
            here = source
            while here != to and here in tree:
                self._load[here, tree[here]] = self._load.get((here, tree[here]), 0) + sign
                here = tree[here]


def _distances(cables: Cables, to: int) -> dict[int, int]:
    far, queue = {to: 0}, deque([to])
    while queue:
        here = queue.popleft()
        for near in cables[here]:
            if near not in far:
                far[near] = far[here] + 1
                queue.append(near)
    return far
