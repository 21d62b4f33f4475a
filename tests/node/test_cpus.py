"""CPU lists and masks, past 64 CPUs too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.node.cpus import list_text, mask_text, parse_list, parse_mask

CPUS = st.frozensets(st.integers(0, 511))


@given(CPUS)
def test_back_and_forth(cpus: frozenset[int]) -> None:
    assert parse_list(list_text(cpus)) == cpus
    assert parse_mask(mask_text(cpus)) == cpus


@pytest.mark.parametrize(
    ("cpus", "text", "mask"),
    [
        ((), "", "0"),
        ((0,), "0", "1"),
        ((0, 1, 2, 5), "0-2,5", "27"),
        ((32,), "32", "1,00000000"),
        ((0, 70), "0,70", "40,00000000,00000001"),
    ],
)
def test_as_the_kernel_writes(cpus: tuple[int, ...], text: str, mask: str) -> None:
    assert list_text(cpus) == text
    assert mask_text(cpus) == mask
