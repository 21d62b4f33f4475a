"""Many calls of rbops-node by one process: what comes back, and what when the process ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rbops.deploy.node import ServedNode
from rbops.deploy.ssh import Completed, Session
from rbops.errors import CheckFailed, RbopsError, StateUnknown, Unreachable, Where


class Talk:
    """Answers in turn; None: it has ended."""

    def __init__(self, answers: Sequence[dict[str, Any] | None], end: Completed) -> None:
        self.answers, self.end = list(answers), end
        self.sent: list[dict[str, Any]] = []
        self.finished = False

    def send(self, line: str) -> None:
        self.sent.append(json.loads(line))

    def receive(self, timeout: float) -> str | None:
        del timeout
        answer = self.answers.pop(0) if self.answers else None
        return None if answer is None else json.dumps(answer)

    def finish(self, timeout: float) -> Completed:
        del timeout
        self.finished = True
        return self.end


class Login:
    """A session; ``talks`` are the processes that are started, ``ran`` what is run beside them."""

    def __init__(self, *talks: Talk) -> None:
        self.target = SimpleNamespace(python="/usr/bin/python3", name="n0", where=Where(server="n0"))
        self.talks = list(talks)
        self.started: list[list[str]] = []
        self.ran: list[list[str]] = []

    def start(self, argv: list[str], timeout: float) -> Talk:
        del timeout
        self.started.append(argv)
        return self.talks[len(self.started) - 1]

    def run(self, argv: list[str], timeout: float) -> Completed:
        del timeout
        self.ran.append(argv)
        return Completed(0, '{"own": 1}', "")


def node(login: Login) -> ServedNode:
    return ServedNode(cast("Session", login))


def said(code: int = 0, out: str = "{}", err: str = "") -> dict[str, Any]:
    return {"code": code, "out": out, "err": err}


def test_one_process_answers_all_calls() -> None:
    talk = Talk([said(out='{"a": 1}'), said(out='{"b": 2}')], Completed(0, "", ""))
    login = Login(talk)
    served = node(login)
    assert (served.call("counters", "--queues"), served.call("status", timeout=1.5)) == ({"a": 1}, {"b": 2})
    assert talk.sent == [
        {"argv": ["counters", "--json", "--queues"], "timeout": 60},
        {"argv": ["status", "--json"], "timeout": 2},
    ]
    assert login.started == [["/usr/bin/python3", "/usr/sbin/rbops-node", "serve"]]
    served.close()
    assert talk.finished


def test_errors_are_what_a_process_of_its_own_would_have_said() -> None:
    error = CheckFailed("no data plane is loaded", code="dataplane.none")
    login = Login(Talk([said(1, "", "a note\n" + json.dumps({"error": error.to_json()}))], Completed(0, "", "")))
    with pytest.raises(CheckFailed) as caught:
        node(login).call("counters")
    assert (caught.value.code, caught.value.where) == ("dataplane.none", Where(server="n0"))


def test_a_call_that_takes_too_long() -> None:
    with pytest.raises(Unreachable, match="`rbops-node counters` did not finish in 60 s"):
        node(Login(Talk([said(124)], Completed(0, "", "")))).call("counters")


def test_an_older_program_is_started_for_each_call() -> None:
    login = Login(Talk([None], Completed(2, "", "invalid choice: 'serve'")))
    served = node(login)
    assert [served.call("counters"), served.call("status")] == [{"own": 1}] * 2
    assert len(login.started) == 1
    assert [argv[2:] for argv in login.ran] == [["counters", "--json"], ["status", "--json"]]


@pytest.mark.parametrize(
    ("end", "error"),
    [(Completed(137, "", "Killed"), StateUnknown), (Completed(127, "", "no such file"), Unreachable)],
)
def test_a_process_that_ends_is_an_error_and_started_again(end: Completed, error: type[RbopsError]) -> None:
    login = Login(Talk([said(), None], end), Talk([said(out='{"back": 1}')], Completed(0, "", "")))
    served = node(login)
    served.call("status")
    with pytest.raises(error):
        served.call("status")
    assert served.call("status") == {"back": 1}
    assert len(login.started) == 2
