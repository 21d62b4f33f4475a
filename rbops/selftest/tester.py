"""The controller's side of the testers' agents: requests and answers, with a time limit, wherever they run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from rbops.errors import CheckFailed, error_from_json

__all__ = ["Agents", "Line", "TesterAgent", "read_answer"]

_ANSWER_S = 15.0
_START_S = 60.0
"""Python and its modules, on a busy machine or after a journey over SSH."""


class Line(Protocol):
    """A way to an agent: lines there and back."""

    def send(self, line: bytes) -> None:
        """Raises CheckFailed when the agent is gone."""

    def receive(self, timeout_s: float) -> bytes | None:
        """The next line without its end, None when none came in time; raises CheckFailed when the agent is gone."""

    def close(self) -> None:
        """End the agent: what it attached goes with it."""


class TesterAgent:
    """The agent of external ``port``. ``post`` a request, then take its ``answer``; ``call`` does both."""

    def __init__(self, port: int, line: Line) -> None:
        self.port = port
        self._line = line
        self._started = False

    def start(self) -> None:
        """Wait until it is in its namespace; raises Mismatch when it cannot get there."""
        if not self._started:
            self.answer(_START_S)
            self._started = True

    def post(self, operation: str, **arguments: Any) -> None:
        """Send a request; raises CheckFailed when the agent is gone."""
        self._line.send(json.dumps({"op": operation, **arguments}).encode() + b"\n")

    def answer(self, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """The answer to the oldest request; raises what the agent reports, CheckFailed when none comes."""
        line = self._line.receive(timeout_s)
        if line is None:
            raise CheckFailed(
                f"the tester of port {self.port} did not answer in {timeout_s:.0f} s", code="tester.timeout"
            )
        return read_answer(line, self.port)

    def call(self, operation: str, *, timeout_s: float = _ANSWER_S, **arguments: Any) -> dict[str, Any]:
        """A request and its answer."""
        self.post(operation, **arguments)
        return self.answer(timeout_s)

    def close(self) -> None:
        """End it."""
        self._line.close()


class Agents:
    """The agents of all testers, in order; leaving the context ends them all."""

    def __init__(self, agents: Sequence[TesterAgent], afterwards: Callable[[], object] = lambda: None) -> None:
        self.all = list(agents)
        self._afterwards = afterwards

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.all:
            agent.close()
        self._afterwards()

    def start(self) -> None:
        """Wait for all of them."""
        for agent in self.all:
            agent.start()

    def call(self, operation: str, *, timeout_s: float = _ANSWER_S, **arguments: Any) -> list[dict[str, Any]]:
        """The same request to all at once; their answers in order."""
        return self.each(operation, [arguments] * len(self.all), timeout_s=timeout_s)

    def each(
        self, operation: str, arguments: Sequence[dict[str, Any] | None], *, timeout_s: float = _ANSWER_S
    ) -> list[dict[str, Any]]:
        """A request of its own to each (None: none to this one) at once; the answers of those asked, in order."""
        asked = [(agent, given) for agent, given in zip(self.all, arguments, strict=True) if given is not None]
        for agent, given in asked:
            agent.post(operation, **given)
        return [agent.answer(timeout_s) for agent, _ in asked]


def read_answer(line: bytes, port: int) -> dict[str, Any]:
    """The value in a line of the agent of external ``port``.

    Raises the error that the agent reports, and CheckFailed for a line that is no answer.
    """
    try:
        found = json.loads(line)
        error = error_from_json(found["error"]) if "error" in found else None
        value: dict[str, Any] = {} if error else found["ok"]
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no object")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as wrong:
        text = f"the tester of port {port} answered what is no answer: {line[:80]!r}"
        raise CheckFailed(text, code="tester.answer") from wrong
    if error:
        message = f"tester of port {port}: {error.message}"
        raise type(error)(message, code=error.code, where=error.where, hint=error.hint)
    return value
