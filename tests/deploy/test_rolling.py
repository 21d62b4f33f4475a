"""A rolling push without servers; the labs of test_apply_lab.py and of the matrix have real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.deploy import rolling
from rbops.deploy.report import Silent
from rbops.deploy.rolling import Rolling
from rbops.deploy.stop import Stop
from rbops.errors import Unreachable


@pytest.mark.parametrize("back", [True, False], ids=["the network is back", "it is not"])
def test_a_lock_is_given_back_over_a_new_connection_where_the_first_broke(
    monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    calls: list[tuple[str, str]] = []
    warned: list[str] = []

    class Node:
        def __init__(self, session: str) -> None:
            self.session = session

        def call(self, verb: str, *_: str) -> None:
            calls.append((self.session, verb))
            if self.session == "old n1" and verb == "unlock":
                raise Unreachable("broken", code="test.broken")

    @contextmanager
    def anew(target: str) -> Iterator[str]:
        if not back:
            raise Unreachable("no answer", code="test.silent")
        yield f"new {target}"

    monkeypatch.setattr(rolling, "RemoteNode", Node)
    monkeypatch.setattr(rolling, "open_session", anew)
    monkeypatch.setattr(Silent, "warn", lambda _, text: warned.append(text))
    run = SimpleNamespace(id="r", note=lambda *_, **__: None)
    what: Any = SimpleNamespace(run=run, inventory=SimpleNamespace(server=str))
    sessions: Any = {"n0": "old n0", "n1": "old n1"}
    with Rolling(what, 1, Silent(), Stop())._locked(sessions):
        assert sorted(calls) == [("old n0", "lock"), ("old n1", "lock")]
    assert (("new n1", "unlock") in calls) is back
    assert warned == ([] if back else ["n1 stays locked: no answer; `rbops apply --break-lock` takes it over"])
