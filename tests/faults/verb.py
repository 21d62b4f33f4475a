"""A verb of rbops in a forked process that stops at one point of a change, until the test has struck.

A point is an entry of the run's journal, or a call of rbops-node on a server, before or after it:

    journal/task/n1/activate : Apply the plan       event, server and task of an entry; without both: journal/start
    node/open/n1/after
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from rbops.cli import main
from rbops.deploy import inventory, listing
from rbops.deploy.node import RemoteNode
from rbops.deploy.runs import Run
from rbops.deploy.vault import Vault

__all__ = ["Verb"]

_POLL_S = 0.05
_LONGEST_S = 400.0


@dataclass
class Verb:
    """One verb. ``code`` is its exit code, negative when a signal ended it; ``passed``: its points in order."""

    arguments: Sequence[str]
    point: str | None = None
    pid: int = field(default=0, init=False)
    code: int | None = field(default=None, init=False)
    hit: bool = field(default=False, init=False)
    passed: list[str] = field(default_factory=list, init=False)
    output: str = field(default="", init=False)

    def run(self, strike: Callable[[], None], meanwhile: Callable[[float], None]) -> None:
        """Run to the end. ``strike`` is called at the point, ``meanwhile`` then repeatedly with the seconds since."""
        source, limit = self._value("-i"), self._value("--limit")
        listed = {name: _listing(str(source), name) for name in {None, limit}}
        told, tell = os.pipe()
        go, let_go = os.pipe()
        with tempfile.TemporaryFile("w+") as output:
            self.pid = os.fork()
            if self.pid == 0:
                os.close(told)
                os.close(let_go)
                _child(self.arguments, _Points(tell, go, self.point), output.fileno(), listed)
            os.close(tell)
            os.close(go)
            try:
                self._follow(told, let_go, strike, meanwhile)
            finally:
                if self.code is None:
                    os.kill(self.pid, signal.SIGKILL)
                    self._reap(os.WEXITED)
                os.close(told)
                os.close(let_go)
                output.seek(0)
                self.output = output.read()

    def _value(self, option: str) -> str | None:
        words = list(self.arguments)
        return words[words.index(option) + 1] if option in words else None

    def send(self, signum: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, signum)

    def _follow(self, told: int, let_go: int, strike: Callable[[], None], meanwhile: Callable[[float], None]) -> None:
        start, struck, rest = time.monotonic(), 0.0, ""
        while self.code is None:
            ready, _, _ = select.select([told], [], [], _POLL_S)
            text = os.read(told, 65536).decode() if ready else ""
            *lines, rest = (rest + text).split("\n")
            self.passed += [line.removeprefix("!") for line in lines]
            if any(line.startswith("!") for line in lines):
                self.hit, struck = True, time.monotonic()
                strike()
                self._release(let_go)
            elif self.hit:
                meanwhile(time.monotonic() - struck)
            if ready and not text:
                time.sleep(_POLL_S)
            self._reap(os.WEXITED | os.WNOHANG)
            assert time.monotonic() - start < _LONGEST_S, f"rbops did not end in {_LONGEST_S} s"

    def _release(self, let_go: int) -> None:
        try:
            os.write(let_go, b"g")
        except BrokenPipeError:  # the strike has killed it
            return

    def _reap(self, options: int) -> None:
        found = os.waitid(os.P_PID, self.pid, options)
        if found is not None:
            self.code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


class _Points:
    """In the process of the verb: what is passed, and the stop."""

    def __init__(self, tell: int, go: int, wanted: str | None) -> None:
        self._tell = tell
        self._go = go
        self._wanted = wanted
        self._lock = threading.Lock()

    def passing(self, point: str) -> None:
        """Tell a point; stop there if it is the wanted one and passed for the first time."""
        with self._lock:
            stop = point == self._wanted
            os.write(self._tell, f"{'!' if stop else ''}{point}\n".encode())
            if stop:
                self._wanted = None
        if stop:
            os.read(self._go, 1)

    def install(self) -> None:
        """Have the journal and the calls of rbops-node pass through here."""
        note, call, staged = Run.note, RemoteNode.call, RemoteNode.call_staged

        def noted(run: Run, what: str, **facts: Any) -> None:
            note(run, what, **facts)
            self.passing("/".join(["journal", what, *_place(facts)]))

        def called(node: RemoteNode, verb: str, *arguments: str, **options: Any) -> Any:
            return self._around(node, verb, lambda: call(node, verb, *arguments, **options))

        def opened(node: RemoteNode, folder: str, files: Any, verb: str, *arguments: str) -> Any:
            return self._around(node, verb, lambda: staged(node, folder, files, verb, *arguments))

        _replace(Run, "note", noted)
        _replace(RemoteNode, "call", called)
        _replace(RemoteNode, "call_staged", opened)

    def _around(self, node: RemoteNode, verb: str, work: Callable[[], Any]) -> Any:
        place = f"node/{verb}/{node._session.target.name}"
        self.passing(f"{place}/before")
        result = work()
        self.passing(f"{place}/after")
        return result


def _place(facts: dict[str, Any]) -> list[str]:
    """Server and task, or the step, of a journal's entry; without what differs from run to run."""
    words = (facts.get("host") or facts.get("server"), facts.get("task"), facts.get("step"))
    alike = (re.sub(r" plan [0-9a-f]+$", " a plan", str(word)) for word in words if word)
    return [re.sub(r"\b\d+ servers$", "the servers", word) for word in alike]


@cache
def _listing(source: str, limit: str | None) -> Mapping[str, Any]:
    """A lab's inventory as Ansible lists it, asked for once: it takes a Python of its own, and the lab stays."""
    _replace(listing, "_TIMEOUT_S", _LONGEST_S)
    return listing.list_inventory([source], limit, Vault())


def _replace(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)


def _child(
    arguments: Sequence[str], points: _Points, output: int, listed: Mapping[str | None, Mapping[str, Any]]
) -> NoReturn:
    """Become the verb: as a process of its own, whose exit code is rbops's. ``listed``: the inventory, by the limit."""
    code = 70
    try:
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(output), "w", buffering=1) for _ in range(2))
        points.install()
        _replace(inventory, "list_inventory", lambda _, limit, *__: dict(listed[limit]))
        sys.argv = ["rbops", *arguments]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    finally:
        sys.stdout.flush()
        os._exit(code)
