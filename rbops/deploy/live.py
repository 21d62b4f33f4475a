"""Readings of all servers again and again, over connections that are kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbops.deploy.node import RemoteNode, ServedNode
from rbops.deploy.ssh import Session, Target, each, open_session
from rbops.errors import RbopsError

__all__ = ["Answer", "Poller", "sample_servers"]

_AGAIN_S, _PATIENCE_S = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: a ``reading`` as ``rbops-node sample`` prints it, or the ``error`` that kept it from that."""

    server: str
    reading: Mapping[str, Any] | None = None
    error: RbopsError | None = None


def sample_servers(targets: Sequence[Target]) -> list[Answer]:
    """One reading of each server; one that does not answer has its error."""

    def ask(target: Target) -> Answer:
        with open_session(target) as session:
            return Answer(target.name, RemoteNode(session).call("sample"))

    found = each(((target.name, target) for target in targets), ask)
    return [Answer(name, error=one) if isinstance(one, RbopsError) else one for name, one in found.items()]


class Poller:
    """Asks each server in a thread of its own, which keeps its connection and opens it again when it is lost.

    A server that is slow, or gone, delays no other: what it said last is not given again, it is absent from the round.
    """

    def __init__(self, targets: Sequence[Target], connect: Callable[[Target], Session] = open_session) -> None:
        self._servers = [_Server(target, connect) for target in targets]
        self._answered: set[str] = set()
        for server in self._servers:
            server.start()

    def round(self, seconds: float) -> list[Answer]:
        """Ask all, and wait ``seconds`` for their answers, or somewhat longer for those that answered last time.

        Who has not answered is in it without reading and error.
        """
        began = time.monotonic()
        for server in self._servers:
            server.ask()
        found = []
        for server in self._servers:
            patience = max(seconds, _PATIENCE_S) if server.name in self._answered else seconds
            found.append(server.answer(began + patience - time.monotonic()))
        self._answered = {f"rbops-poll-{one.server}" for one in found if one.reading is not None}
        return found

    def close(self) -> None:
        """Close the connections; a login that is under way ends by itself, in a thread that keeps nothing waiting."""
        for server in self._servers:
            server.close()


class _Server(threading.Thread):
    """One server. A daemon thread: Ctrl-C does not wait for a login that times out."""

    def __init__(self, target: Target, connect: Callable[[Target], Session]) -> None:
        super().__init__(name=f"rbops-poll-{target.name}", daemon=True)
        self._target, self._connect = target, connect
        self._node: ServedNode | None = None
        self._change = threading.Condition()
        self._asked = self._closed = False
        self._answer: Answer | None = None
        self._not_before = 0.0

    def ask(self) -> None:
        with self._change:
            self._answer, self._asked = None, True
            self._change.notify_all()

    def answer(self, seconds: float) -> Answer:
        with self._change:
            self._change.wait_for(lambda: self._answer is not None, max(0.0, seconds))
            return self._answer or Answer(self._target.name)

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
            node, self._node = self._node, None
        if node is not None:
            node.session.close()

    def run(self) -> None:
        last: RbopsError | None = None
        while self._wait():
            if last is not None and time.monotonic() < self._not_before:
                found = Answer(self._target.name, error=last)
            else:
                found = self._read()
                last = found.error
                self._not_before = time.monotonic() + _AGAIN_S
            with self._change:
                self._answer = found
                self._change.notify_all()

    def _wait(self) -> bool:
        """Until it is asked; False when it is closed."""
        with self._change:
            self._change.wait_for(lambda: self._asked or self._closed)
            self._asked = False
            return not self._closed

    def _read(self) -> Answer:
        try:
            return Answer(self._target.name, self._open().call("sample"))
        except RbopsError as error:
            with self._change:
                broken, self._node = self._node, None
            if broken is not None:
                broken.session.close()
            return Answer(self._target.name, error=error)

    def _open(self) -> RemoteNode:
        """Over the connection that is kept, or a new one."""
        with self._change:
            if self._node is not None:
                return self._node
        made = ServedNode(self._connect(self._target))
        with self._change:
            self._node = made
        return made
