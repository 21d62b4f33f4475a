from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rbops.selftest.reordering import Reordering, measure


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


@given(st.permutations(range(8)))
def test_a_run_has_at_least_one_late_packet(order: list[int]) -> None:
    found = measure(order)
    assert found.sequences <= found.late < max(1, found.packets)
    assert (found.late == 0) == (order == sorted(order))
