"""Which neighbour frames leave by: shortest paths in any topology, evenly loaded; and VLB's two phases over them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.render.paths import loads, neighbors
from rbops.topology.wiring import fly_cables, fly_fanouts
from rbops.vlb.phases import NONE, relay, walk

FLIES = [(servers, degree) for servers in range(2, 13) for degree in range(3, 9) if fly_fanouts(servers, degree)]


def cables_of(pairs: list[tuple[int, int]]) -> dict[int, Counter[int]]:
    found: dict[int, Counter[int]] = {}
    for one, other in pairs:
        found.setdefault(one, Counter())[other] += 1
        found.setdefault(other, Counter())[one] += 1
    return found


def fly(servers: int, degree: int) -> dict[int, Counter[int]]:
    return cables_of([tuple(cable) for cable in fly_cables(servers, fly_fanouts(servers, degree) or ())])


def distances(cables: dict[int, Counter[int]], to: int) -> dict[int, int]:
    far = {to: 0}
    for here in (order := [to]):
        for near in cables[here]:
            if near not in far:
                far[near] = far[here] + 1
                order.append(near)
    return far


@given(st.sampled_from(FLIES))
@settings(deadline=None)
def test_each_hop_comes_one_cable_nearer(shape: tuple[int, int]) -> None:
    cables, owners = fly(*shape), range(shape[0])
    for to, tree in neighbors(cables, frozenset(owners)).items():
        far = distances(cables, to)
        assert tree.keys() == cables.keys() - {to}
        assert all(far[near] == far[here] - 1 and near in cables[here] for here, near in tree.items())


@given(st.sampled_from(FLIES), st.data())
@settings(deadline=None)
def test_a_frame_passes_its_intermediate_and_reaches_its_owner(shape: tuple[int, int], data: st.DataObject) -> None:
    cables, servers = fly(*shape), st.integers(0, shape[0] - 1)
    towards = neighbors(cables, frozenset(range(shape[0])))
    source, via, owner = data.draw(servers), data.draw(st.one_of(servers, st.just(NONE))), data.draw(servers)
    if source in (via, owner):
        return
    passed = walk(towards, source, via, owner)
    assert (passed[0], passed[-1]) == (source, owner)
    if via == NONE or owner in walk(towards, source, NONE, via):
        # The owner itself may lie on the way to the intermediate: the frame stays there.
        assert len(passed) - 1 == distances(cables, owner)[source]
        return
    assert via in passed
    assert len(passed) - 1 <= distances(cables, via)[source] + distances(cables, owner)[via]


def test_the_fly_of_the_lab_is_loaded_as_it_is_planned() -> None:
    """Four servers with ports, four without, four cables each: no cable has more than one path between two of them."""
    found = loads(fly(4, 4), neighbors(fly(4, 4), frozenset(range(4))))
    assert max(found.values()) == 1


@pytest.mark.parametrize(("servers", "degree", "most"), [(2, 4, 0.5), (3, 4, 0.5), (6, 4, 2), (8, 6, 2), (9, 12, 1)])
def test_loads_of_other_flies(servers: int, degree: int, most: float) -> None:
    cables = fly(servers, degree)
    assert max(loads(cables, neighbors(cables, frozenset(range(servers)))).values()) <= most


def test_in_a_ring_both_ways_are_used() -> None:
    cables = cables_of([(here, (here + 1) % 6) for here in range(6)])
    found = loads(cables, neighbors(cables, frozenset(range(6))))
    assert max(found.values()) - min(found.values()) <= 1
    assert math.isclose(sum(found.values()), 6 * (1 + 2 + 3 + 2 + 1))


@pytest.mark.parametrize(
    ("here", "via", "owner", "reachable", "goes"),
    [
        (5, 2, 1, {1, 2}, (2, 2)),
        (2, 2, 1, {1, 2}, (1, NONE)),
        (5, NONE, 1, {1, 2}, (1, NONE)),
        (5, 1, 1, {1, 2}, (1, NONE)),
        (5, 2, 1, {1}, (1, NONE)),
    ],
)
def test_a_server_on_the_way(here: int, via: int, owner: int, reachable: set[int], goes: tuple[int, int]) -> None:
    assert relay(here, via, owner, reachable) == goes
