"""``apply --confirm-if``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rbops.cli.acceptance import acceptance, conditions
from rbops.errors import CheckFailed, Mismatch, UsageError
from rbops.verify.result import Check, VerifyResult
from tests.selftest.conftest import make_plan
from tests.support.errors import raises


def test_they_are_tried_in_the_order_of_their_cost() -> None:
    assert conditions("selftest,verify,selftest") == ("verify", "selftest")


@pytest.mark.parametrize("text", ["ping", "verify,", ",", "verify selftest"])
def test_others_are_refused(text: str) -> None:
    with raises(UsageError, "apply.condition"):
        conditions(text)


def test_testers_that_are_missing_are_told_before_anything_changes() -> None:
    class Empty:
        testers = ()

    with raises(Mismatch, "selftest.no-tester"):
        acceptance(("selftest",), Path("x"), None, make_plan(2), Empty())  # type: ignore[arg-type]


def test_a_check_that_fails_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Check("n1", "queues", "xps[n1:int0]", "failed", "it is 3, planned 1", 0.1)
    found: list[Any] = [VerifyResult("x", (failed,)), VerifyResult("x", (Check("n1", "a", "b", "passed", "", 0.1),))]
    monkeypatch.setattr("rbops.cli.verify.run", lambda *_: found.pop(0))
    accept = acceptance(("verify",), Path("x"), None, make_plan(2), None)  # type: ignore[arg-type]
    assert accept is not None
    with raises(CheckFailed, "apply.verify") as caught:
        accept()
    assert "1 check of verify failed: n1 xps[n1:int0]: it is 3, planned 1" in str(caught.value)
    accept()
