"""The TTL of a flow: as sent, and as expected where a packet leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rbops.selftest.traffic import _headers, ttl_of

from .test_diagnosis import attached


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_the_smallest_ttl_just_passes(hops: int) -> None:
    assert min(ttl_of(flow, hops) for flow in range(8)) == hops + 1


def test_what_leaves_has_lost_what_its_path_costs() -> None:
    near, far, other = attached()
    near = replace(near, hops={"n1": 2})
    for flow in range(4):
        lost = [
            _headers(near, end, flow, at_exit=False).ttl - _headers(near, end, flow, at_exit=True).ttl
            for end in (far, other)
        ]
        assert lost == [2, 1]
