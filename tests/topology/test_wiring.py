"""The mesh's and the fly's wiring, and the loads VLB puts on them."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.topology.wiring import fly_cables, fly_fanouts, fly_stages, imbalance, mesh_cables

SIZES = st.integers(2, 200)
DEGREES = st.integers(4, 64)


@given(st.integers(1, 60), st.integers(1, 3))
def test_a_mesh_joins_every_pair(servers: int, parallel: int) -> None:
    cables = Counter((cable.a, cable.b) for cable in mesh_cables(servers, parallel))
    assert cables == Counter(dict.fromkeys(itertools.combinations(range(servers), 2), parallel))


@given(SIZES, st.integers(2, 200))
def test_stages_are_the_papers(servers: int, degree: int) -> None:
    stages = fly_stages(servers, degree)
    assert degree**stages >= servers
    assert stages == 1 or degree ** (stages - 1) < servers


@given(SIZES, DEGREES)
@settings(max_examples=60)
def test_each_stage_is_a_bijection(servers: int, degree: int) -> None:
    """Every server of a column has all its ports of a transition in use, and so has every one of the next."""
    fanouts = fly_fanouts(servers, degree)
    assert fanouts is not None
    cables = iter(fly_cables(servers, fanouts))
    for column, fanout in enumerate(fanouts):
        stage = list(itertools.islice(cables, servers * fanout))
        here, there = column * servers, (column + 1) % len(fanouts) * servers
        assert Counter(cable.a for cable in stage) == Counter({here + a: fanout for a in range(servers)})
        assert Counter(cable.b for cable in stage) == Counter({there + b: fanout for b in range(servers)})
    assert next(cables, None) is None


@given(SIZES, DEGREES)
@settings(max_examples=60)
def test_no_server_needs_more_ports_than_it_has(servers: int, degree: int) -> None:
    fanouts = fly_fanouts(servers, degree)
    assert fanouts is not None
    ends = Counter(end for cable in fly_cables(servers, fanouts) for end in (cable.a, cable.b))
    assert max(ends.values()) <= degree
    assert len(ends) == servers * len(fanouts)


def next_hops(servers: int, fanouts: tuple[int, ...], column: int, server: int, target: int) -> tuple[int, ...]:
    """Where ``server`` of ``column`` may send, going forwards, what is for ``target``, by arithmetic on the fanouts."""
    fanout = fanouts[column]
    rest = math.prod(fanouts[column + 1 :])
    hops: list[int] = []
    for j in range(fanout):
        after = (fanout * server + j) % servers
        if (target - after * rest) % servers < rest:
            hops.append(after)
    return tuple(hops)


@given(st.integers(2, 40), st.integers(4, 12))
@settings(max_examples=40)
def test_every_server_is_reached_in_one_round(servers: int, degree: int) -> None:
    fanouts = fly_fanouts(servers, degree)
    assert fanouts is not None
    for source, target in itertools.product((0, servers - 1), range(servers)):
        reached = {source}
        for column in range(len(fanouts)):
            reached = {hop for at in reached for hop in next_hops(servers, fanouts, column, at, target)}
        assert reached == {target}


@given(st.integers(2, 24), st.integers(3, 10))
@settings(max_examples=40, deadline=None)
def test_no_link_carries_more_than_the_required_rate(servers: int, degree: int) -> None:
    """VLB puts 2sR/M on each pair of port servers; half of it goes round forwards over its paths in equal parts."""
    fanouts = fly_fanouts(servers, degree)
    if fanouts is None:
        return
    paths = math.prod(fanouts)
    loads: Counter[tuple[int, int, int]] = Counter()
    for source, target in itertools.product(range(servers), repeat=2):
        routes = [x for x in range(paths) if (source * paths + x) % servers == target]
        for x in routes:
            at, rest = source, paths
            for column, fanout in enumerate(fanouts):
                rest //= fanout
                step = x // rest % fanout
                loads[column, at, step] += 1 / servers / len(routes)  # type: ignore[assignment]
                at = (fanout * at + step) % servers
    assert max(loads.values()) <= 1 / min(fanouts) * imbalance(servers, fanouts) + 1e-9


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_mesh_links_carry_at_most_2r_over_n(servers: int, seed: int) -> None:
    """For any admissible matrix (rows and columns at most R): phase 1 spreads rows, phase 2 columns."""
    matrix = np.random.default_rng(seed).random((servers, servers)) ** 8
    matrix /= max(matrix.sum(axis=0).max(), matrix.sum(axis=1).max())
    for a, b in itertools.permutations(range(servers), 2):
        assert matrix[a].sum() / servers + matrix[:, b].sum() / servers <= 2 / servers + 1e-12


@pytest.mark.parametrize(("degree", "servers"), [(1, 4), (2, 4)])
def test_too_few_ports_make_no_fly(degree: int, servers: int) -> None:
    assert fly_fanouts(servers, degree) is None
