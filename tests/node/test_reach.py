"""What is out of reach becomes known everywhere, over any cables, and so does that it is back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.node.reach import Reach, Said


class Cluster:
    """Servers that say one thing a round to their neighbours; ``cables``: server -> neighbours."""

    def __init__(self, cables: Mapping[int, set[int]]) -> None:
        self.cables = cables
        self.at = {server: Reach(server, 1) for server in cables}
        self.rows: dict[int, dict[int, int]] = {server: {} for server in cables}

    def round(self) -> None:
        said = {server: reach.next() for server, reach in self.at.items()}
        for server, reach in self.at.items():
            for one in reach.hear(said[near] for near in sorted(self.cables[server])):
                self.rows[server][one.server] = one.cut

    def believed(self, of: int) -> set[int]:
        """What the others have heard last of a server."""
        return {rows.get(of, 0) for server, rows in self.rows.items() if server != of}


def line(count: int) -> Cluster:
    cables: dict[int, set[int]] = {server: set() for server in range(count)}
    for one, other in pairwise(range(count)):
        cables[one].add(other)
        cables[other].add(one)
    return Cluster(cables)


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Connected ones: each server has a cable to an earlier one, and some have more."""
    count = draw(st.integers(2, 8))
    cables: dict[int, set[int]] = {server: set() for server in range(count)}
    pairs = [(server, draw(st.integers(0, server - 1))) for server in range(1, count)]
    pairs += draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=5))
    for one, other in pairs:
        if one != other:
            cables[one].add(other)
            cables[other].add(one)
    return Cluster(cables)


@given(clusters(), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 255)), max_size=6), st.integers(0, 30))
@settings(deadline=None, max_examples=40)
def test_all_know_what_each_says_last(cluster: Cluster, changes: list[tuple[int, int]], between: int) -> None:
    count = len(cluster.at)
    now = dict.fromkeys(cluster.at, 0)
    for server, cut in changes:
        now[server % count] = cut
        cluster.at[server % count].set_own(cut)
        for _ in range(between):
            cluster.round()
    for _ in range(count * count * 4):
        cluster.round()
    assert {server: cluster.believed(server) for server in now} == {server: {cut} for server, cut in now.items()}


def test_one_change_crosses_a_cable_a_round() -> None:
    cluster = line(5)
    for _ in range(200):
        cluster.round()
    cluster.at[0].set_own(0b100)
    for _ in range(4):
        cluster.round()
    assert cluster.rows[4] == {**cluster.rows[4], 0: 0b100}


def test_who_was_away_learns_what_changed_meanwhile() -> None:
    """Who says what is not true any more is corrected."""
    cluster = line(3)
    cluster.at[0].set_own(0b10)
    for _ in range(10):
        cluster.round()
    away = cluster.cables[2].copy()
    cluster.cables[1].discard(2)
    cluster.cables[2].clear()
    cluster.at[0].set_own(0)
    for _ in range(400):
        cluster.round()
    assert (cluster.rows[1][0], cluster.rows[2][0]) == (0, 0b10)
    cluster.cables[1].add(2)
    cluster.cables[2].update(away)
    for _ in range(10):
        cluster.round()
    assert cluster.rows[2][0] == 0


def test_a_start_with_a_clock_that_is_behind_is_believed_all_the_same() -> None:
    cluster = line(3)
    cluster.at[0] = Reach(0, 1_000)
    cluster.at[0].set_own(0b10)
    for _ in range(10):
        cluster.round()
    assert cluster.believed(0) == {0b10}
    cluster.at[0] = Reach(0, 1)
    for _ in range(10):
        cluster.round()
    assert cluster.believed(0) == {0}


def test_where_nothing_is_out_of_reach_a_server_speaks_of_itself() -> None:
    reach = Reach(3, 7)
    for _ in range(150):
        assert reach.next() == Said(3, 7, 0)
    assert reach.hear([Said(1, 5, 0)]) == [Said(1, 5, 0)]
    assert [reach.next().server for _ in range(100)] == [1] * 100
    assert reach.next() == Said(3, 7, 0)
