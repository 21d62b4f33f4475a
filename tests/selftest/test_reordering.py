from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rbops.selftest.reordering import Lateness, Reordering, lateness, measure


def test_the_papers_example_is_one_reordered_sequence() -> None:
    found = measure([1, 4, 2, 3, 5])
    assert found == Reordering(packets=5, late=2, sequences=1)
    assert found.fraction == 1 / 5
    assert found.late_ratio == 2 / 5


def test_what_counts_as_one_sequence() -> None:
    assert measure([]) == Reordering(0, 0, 0)
    assert measure([1, 2, 3]) == Reordering(3, 0, 0)
    assert measure([1, 3, 2, 5, 4]) == Reordering(5, 2, 2)
    assert measure([5, 4, 3, 2, 1]) == Reordering(5, 4, 1)
    assert measure([3, 1, 4, 2, 5]) == Reordering(5, 2, 2)


def test_lost_packets_and_duplicates_make_nobody_late() -> None:
    assert measure([1, 5, 9]) == Reordering(3, 0, 0)
    assert measure([1, 2, 1, 3, 2]) == Reordering(3, 0, 0)
    assert measure([1, 3, 1, 2]) == Reordering(3, 1, 1)


def _occurring(found: Lateness) -> tuple[dict[int, int], dict[int, int]]:
    value = found.to_dict()
    return dict(value["extents"]), dict(value["degrees"])


def test_extent_and_degree_of_the_examples_of_rfc_4737() -> None:
    """Section 7.2, table 1: 1 2 3 7 8 9 10 4 5 6 11; and the paper's example."""
    found = lateness([1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11])
    assert _occurring(found) == ({4: 1, 5: 1, 6: 1}, {0: 2, 4: 1})
    assert (found.packets, found.mean_extent, found.most) == (3, 5.0, 6)
    assert [found.reordered(number) for number in (1, 3, 4, 5)] == [1, 1, 1, 0]
    assert _occurring(lateness([1, 4, 2, 3, 5])) == ({1: 1, 2: 1}, {0: 1, 1: 1})


def test_what_is_longer_ago_than_is_remembered_is_that_or_more() -> None:
    found = lateness([*range(1, 100), 0])
    assert _occurring(found) == ({63: 1}, {63: 1})
    assert found + Lateness() == found


@given(st.permutations(range(8)))
def test_late_packets_have_an_extent_and_a_degree_below_it(order: list[int]) -> None:
    found = lateness(order)
    assert found.packets == sum(found.degrees) == measure(order).late
    assert found.reordered(1) <= found.packets == sum(found.extents[1:])
    assert found.most <= 7


@given(st.permutations(range(8)))
def test_a_run_has_at_least_one_late_packet(order: list[int]) -> None:
    found = measure(order)
    assert found.sequences <= found.late < max(1, found.packets)
    assert (found.late == 0) == (order == sorted(order))
