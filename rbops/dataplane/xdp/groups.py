"""Multipath: which of a group's buckets belong to which next hop. A bucket keeps its next hop where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rbops.dataplane.xdp.layout import GROUP_BUCKETS

__all__ = ["buckets", "shares"]


def shares(weights: Mapping[int, int]) -> dict[int, int]:
    """Number of a next hop -> how many buckets it gets: by weight, at least one, together all of them.

    More next hops than buckets: the last ones get none.
    """
    order = sorted(weights)[:GROUP_BUCKETS]
    if not order:
        return {}
    total = sum(weights[number] for number in order)
    exact = {number: GROUP_BUCKETS * weights[number] / total for number in order}
    found = {number: max(1, int(exact[number])) for number in order}
    left = GROUP_BUCKETS - sum(found.values())
    while left:
        step = 1 if left > 0 else -1
        able = [number for number in order if step > 0 or found[number] > 1]
        best = max(able, key=lambda number: (step * (exact[number] - found[number]), number))
        found[best] += step
        left -= step
    return found


def buckets(weights: Mapping[int, int], before: Sequence[int]) -> list[int]:
    """The next hop of each bucket: as ``before`` (empty: nothing before), but for those that must move."""
    left = shares(weights)
    found: list[int | None] = [None] * GROUP_BUCKETS
    for at, number in enumerate(before):
        if left.get(number, 0) > 0:
            found[at] = number
            left[number] -= 1
    rest = [number for number, count in left.items() for _ in range(count)]
    return [(rest.pop() if rest else 0) if number is None else number for number in found]
