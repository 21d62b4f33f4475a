"""The controller's side of a tester: starts the agent in its namespace and calls it, with a time limit."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from rbops.errors import CheckFailed, error_from_json

__all__ = ["Agents", "TesterProcess", "read_answer"]

_ANSWER_S = 15.0


class TesterProcess:
    """One agent. ``post`` a request, then take its ``answer``; ``call`` does both."""

    def __init__(self, port: int, device: str, netns: str | None, *, lifetime_s: float) -> None:
        self.port = port
        command = [sys.executable, "-P", "-m", "rbops.selftest.agent", "--device", device]
        command += ["--lifetime", str(lifetime_s), "--parent", str(os.getpid())]
        if netns:
            command += ["--netns", netns]
        # A session of its own: Ctrl-C reaches the controller alone, which then ends its agents.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._buffer = b""
        self._started = False

    def start(self) -> None:
        """Wait until it is in its namespace; raises Mismatch when it cannot get there."""
        if not self._started:
            self.answer()
            self._started = True

    def post(self, operation: str, **arguments: Any) -> None:
        """Send a request; raises CheckFailed when the agent is gone."""
        line = json.dumps({"op": operation, **arguments}) + "\n"
        stdin = self._process.stdin
        if stdin is None:
            raise CheckFailed(f"the tester of port {self.port} was closed", code="tester.closed")
        try:
            stdin.write(line.encode())
            stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def answer(self, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """The answer to the oldest request; raises what the agent reports, CheckFailed when none comes."""
        end = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            data = self._read(left) if left > 0 else None
            if data is None:
                raise CheckFailed(
                    f"the tester of port {self.port} did not answer in {timeout_s:.0f} s", code="tester.timeout"
                )
            if not data:
                raise self._gone()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return read_answer(line, self.port)

    def call(self, operation: str, *, timeout_s: float = _ANSWER_S, **arguments: Any) -> dict[str, Any]:
        """A request and its answer."""
        self.post(operation, **arguments)
        return self.answer(timeout_s)

    def close(self) -> None:
        """End the agent: by closing its input, then by force. What it attached goes with it."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it ended before reading everything
                self._process.stdin.close()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def _read(self, timeout_s: float) -> bytes | None:
        stream = self._process.stdout
        if stream is None or not select.select([stream], [], [], timeout_s)[0]:
            return None
        return os.read(stream.fileno(), 1 << 20)

    def _gone(self) -> CheckFailed:
        stderr = self._process.stderr
        said = ""
        if self._process.poll() is not None and stderr:
            said = stderr.read().decode(errors="replace").strip()
        text = f"the tester of port {self.port} ended" + (f":\n{said}" if said else "")
        return CheckFailed(text, code="tester.ended")


class Agents:
    """The agents of all testers, in order; leaving the context ends them all."""

    def __init__(self, agents: Sequence[TesterProcess]) -> None:
        self.all = list(agents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.all:
            agent.close()

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
