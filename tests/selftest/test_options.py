from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.deploy.logins import target_of
from rbops.errors import Mismatch, Unreachable, UsageError
from rbops.selftest.options import SelftestOptions
from rbops.selftest.phases import pair
from rbops.selftest.run import run_selftest
from rbops.selftest.setup import cores_of
from tests.support.errors import raises

from .conftest import FakeTester, make_plan


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"duration_s": 0.1}, "selftest.duration"),
        ({"duration_s": 61}, "selftest.duration"),
        ({"size": 63}, "selftest.size"),
        ({"size": 1519}, "selftest.size"),
        ({"packets": 0}, "selftest.packet-count"),
        ({"flows": 0}, "selftest.flows"),
    ],
)
def test_invalid_options(given: dict[str, Any], code: str) -> None:
    with raises(UsageError, code):
        SelftestOptions(**given)


def test_a_single_port_is_no_router() -> None:
    with raises(Mismatch, "selftest.one-port"):
        run_selftest(make_plan(1), [FakeTester(0, None, "ext0")], None, SelftestOptions())


def test_testers_elsewhere_that_do_not_answer_are_all_named() -> None:
    """Without root, which is needed here for testers of this machine alone."""
    closed = [target_of(name, {"ansible_host": "127.0.0.1", "ansible_port": 1}) for name in ("t0", "t1")]
    far = [FakeTester(number, None, f"ext{number}", target=target) for number, target in enumerate(closed)]
    with raises(Unreachable, "ssh.no-connection") as caught:
        run_selftest(make_plan(2), far, None, SelftestOptions())
    assert all(name in str(caught.value) for name in ("t0", "t1"))


def test_missing_testers_are_named() -> None:
    with raises(Mismatch, "selftest.no-tester"):
        run_selftest(make_plan(3), [FakeTester(0, None, "ext0")], None, SelftestOptions())


def test_agents_of_one_machine_have_different_cores() -> None:
    """By its boot: an inventory may have several names for it, one a port."""
    facts = [{"boot": boot, "cpus": [2, 3]} for boot in ("a", "a", "b", "a")]
    assert list(cores_of(facts, 2)) == [2, 3, 2, 2]


@given(st.integers(2, 64), st.floats(1, 1e7))
def test_a_slow_pair_phase_has_whole_rounds(testers: int, packets: float) -> None:
    """What is offered in the phase's time is at least one round over all flows, as far as 32 flows can be told."""
    groups = pair.groups(testers, packets)
    assert groups["flows"] % groups["active"] == 0
    assert groups["flows"] * groups["burst"] <= max(packets, 32)
