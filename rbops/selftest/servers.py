"""Reads the servers' own counters over SSH, all servers at the same time, over connections that stay open."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from rbops.deploy.inventory import Target
from rbops.deploy.node import RemoteNode, ServedNode
from rbops.deploy.ssh import each, open_session, raise_errors
from rbops.errors import CheckFailed, RbopsError, Unreachable, Where
from rbops.selftest.result import Fault

__all__ = ["CounterReader"]

_SHOWN = 3
_COMMAND_S = 60.0


class CounterReader:
    """A callable for ``run_selftest``; a context manager, whose entry connects to all servers.

    Entry raises Unreachable (4) when a server cannot be logged in to, a call when one goes away.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self._targets = tuple(targets)
        self._nodes: dict[str, ServedNode] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        opened = each(((target.name, target) for target in self._targets), open_session)
        for name, found in opened.items():
            if not isinstance(found, RbopsError):
                self._nodes[name] = ServedNode(self._stack.enter_context(found))
                self._stack.callback(self._nodes[name].close)
        try:
            raise_errors(opened)
        except RbopsError:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self) -> dict[str, Mapping[str, Any]]:
        """Server name -> the JSON of ``rbops-node counters --queues``, or ``{"error": its reason}``."""
        answers = each(self._nodes.items(), _read)
        raise_errors(answers)
        return {name: answer for name, answer in answers.items() if not isinstance(answer, RbopsError)}

    def run_on(self, server: str, argv: Sequence[str]) -> str:
        """Run a command on a server as root. Raises CheckFailed (1) when it fails, Unreachable (4)."""
        done = self._nodes[server].session.run(argv, _COMMAND_S)
        if done.returncode:
            raise CheckFailed(
                f"`{shlex.join(argv)}` failed: {done.stderr.strip()}",
                code="selftest.command",
                where=Where(server=server),
            )
        return done.stdout

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Server name -> the JSON of ``rbops-node facts``, of those that can say it."""
        answers = each(self._nodes.items(), _facts)
        raise_errors(answers)
        return {name: answer for name, answer in answers.items() if not isinstance(answer, RbopsError) and answer}

    def incomplete(self) -> tuple[Fault, ...]:
        """A fault for each server whose rules, routes or addresses are not all there: packets may not show it."""
        answers = each(self._nodes.items(), _incomplete)
        raise_errors(answers)
        return tuple(
            Fault("network incomplete", f"{name} misses {text}", "all", server=name)
            for name, text in answers.items()
            if isinstance(text, str) and text
        )


def _incomplete(node: RemoteNode) -> str:
    """What the server's node program misses of rules, routes and addresses, as text; empty where it cannot say."""
    try:
        missing = node.call("status").get("missing", ())
    except Unreachable:
        raise
    except RbopsError:
        return ""
    names = [f"{one['subject']} {one['setting']}" for one in missing]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _facts(node: RemoteNode) -> Mapping[str, Any]:
    """Empty where an older rbops-node has no such verb, or fails."""
    try:
        found: Mapping[str, Any] = node.call("facts")
    except Unreachable:
        raise
    except RbopsError:
        return {}
    return found


def _read(node: RemoteNode) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = node.call("counters", "--queues")
    except Unreachable:
        raise
    except RbopsError as error:
        return {"error": str(error)}
    return found
