from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.errors import Mismatch, UsageError
from rbops.selftest.options import Options
from rbops.selftest.phases import pair
from rbops.selftest.run import run_selftest

from .conftest import FakeTester, make_plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"duration_s": 0.1}, "0.5 to 60 seconds, not 0.1"),
        ({"duration_s": 61}, "0.5 to 60 seconds"),
        ({"size": 63}, "64 to 1518 bytes with FCS, not 63"),
        ({"size": 1519}, "64 to 1518"),
        ({"packets": 0}, "at least one packet"),
        ({"flows": 0}, "1 to 1024 flows"),
    ],
)
def test_what_is_no_self_test(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**given)


def test_a_single_port_is_no_router() -> None:
    with pytest.raises(Mismatch, match="needs two external ports"):
        run_selftest(make_plan(1), [FakeTester(0, None, "ext0")], None, Options())


def test_testers_elsewhere() -> None:
    far = FakeTester(1, None, "ext1", target=object())
    with pytest.raises(Mismatch, match="tester of external port 1 is on another machine"):
        run_selftest(make_plan(2), [FakeTester(0, None, "ext0"), far], None, Options())


def test_missing_testers_are_named() -> None:
    with pytest.raises(Mismatch, match="no tester in the inventory for external port 1, 2"):
        run_selftest(make_plan(3), [FakeTester(0, None, "ext0")], None, Options())


@given(st.integers(2, 64), st.floats(1, 1e7))
def test_a_slow_pair_phase_has_whole_rounds(testers: int, packets: float) -> None:
    """What is offered in the phase's time is at least one round over all flows, as far as 32 flows can be told."""
    groups = pair.groups(testers, packets)
    assert groups["flows"] % groups["active"] == 0
    assert groups["flows"] * groups["burst"] <= max(packets, 32)
