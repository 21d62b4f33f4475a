"""The controller's half of a transaction, without servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.deploy.report import Silent
from rbops.deploy.runs import Run
from rbops.deploy.stop import Stop
from rbops.deploy.transaction import Transaction
from rbops.errors import CheckFailed, RbopsError, Unreachable, UsageError
from tests.support.errors import raises

GONE = CheckFailed("no change is open: it was rolled back already", code="node.no-change")
LOST = Unreachable("the connection broke", code="ssh.lost")


def confirming(
    answers: list[RbopsError | dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Transaction:
    """A change of one server that answers a confirmation so, one after the other."""

    def call(*_: object, **__: object) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, RbopsError):
            raise answer
        return answer

    change = Transaction(Run("r", folder), (), {}, {}, b"", 120, Silent(), Stop())
    change._expires = time.monotonic() + 120
    monkeypatch.setattr(Transaction, "node", lambda *_: SimpleNamespace(call=call))
    monkeypatch.setattr(Transaction, "_again", lambda _, session: session)
    monkeypatch.setattr("rbops.deploy.transaction._RETRY_S", 0)
    return change


def test_a_server_that_has_rebooted_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Transaction(Run("r", tmp_path), (), {}, {"n0": SimpleNamespace(boot_id="a")}, b"", 120, Silent(), Stop())  # type: ignore[dict-item]
    fresh = SimpleNamespace(target=SESSION.target, close=lambda: None)
    monkeypatch.setattr("rbops.deploy.transaction.open_session", lambda _: fresh)
    for boot_id, answer in (("a", fresh), (None, None), ("b", None)):
        monkeypatch.setattr("rbops.deploy.transaction.probe", probed(boot_id))
        if boot_id == "b":
            with raises(CheckFailed, "apply.rebooted"):
                change._again(SESSION)
        else:
            assert change._again(SESSION) is (answer or SESSION)


def probed(boot_id: str | None) -> Callable[[object], SimpleNamespace]:
    """A probe that finds this boot; None: that finds nobody."""

    def probe(_: object) -> SimpleNamespace:
        if boot_id is None:
            raise LOST
        return SimpleNamespace(boot_id=boot_id)

    return probe


SESSION: Any = SimpleNamespace(target=SimpleNamespace(name="n0", where=None))


def test_a_confirmation_that_was_lost_on_its_way_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = confirming([LOST, LOST, {"generation": 3}], tmp_path, monkeypatch)
    change._confirm_one(SESSION)
    assert change.confirmed == {"n0": {"generation": 3}}


def test_a_server_that_has_rolled_itself_back_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[RbopsError | dict[str, Any]] = [LOST, GONE, {"generation": 3}]
    with raises(CheckFailed, "node.no-change"):
        confirming(answers, tmp_path, monkeypatch)._confirm_one(SESSION)
    assert answers == [{"generation": 3}]


def test_a_configuration_that_cannot_be_read_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[RbopsError | dict[str, Any]] = [UsageError("cut", code="node.config-json"), {"generation": 3}]
    with raises(UsageError, "node.config-json"):
        confirming(answers, tmp_path, monkeypatch)._confirm_one(SESSION)
    assert answers == [{"generation": 3}]
