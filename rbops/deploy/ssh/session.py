"""Commands on a server, and conversations with one, over a login of either kind.

Every wait is bounded. Commands are argument lists, quoted with :func:`shlex.join` for the login shell: an argument
``$(reboot)`` arrives as those nine characters.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from rbops.deploy.ssh.channel import Broken, Channel, Connection, Refused
from rbops.deploy.ssh.login import log_in
from rbops.deploy.ssh.sudo import Wrapped, refusal, wrap
from rbops.deploy.ssh.target import Target
from rbops.deploy.ssh.together import each, raise_errors
from rbops.errors import Unreachable

__all__ = ["Completed", "Conversation", "Session", "in_time", "open_session", "require_reachable", "run"]

_Result = TypeVar("_Result")

_POLL_S = 0.2
_GRACE_S = 5.0
_BUSY_S = 0.01
_TIMED_OUT = 124  # timeout(1)
_REFUSED_S = 2.0
_BY_PEER = b"refused by peer"
"""What OpenSSH's client says when the server starts no further command on the login."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command; ``stdout`` and ``stderr`` are decoded as UTF-8 with replacement."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """The last line of stderr, or of stdout, or the return code: one line for a message."""
        for text in (self.stderr, self.stdout):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return f"exit status {self.returncode}"


class Session:
    """An open login to one server; use as a context manager.

    ``spare`` is called when the server starts no further command beside the others (``MaxSessions``): it ends one that
    is kept for convenience.
    """

    __slots__ = ("_connection", "spare", "target")

    def __init__(self, target: Target, connection: Connection) -> None:
        self.target = target
        self._connection = connection
        self.spare: Callable[[], None] | None = None

    def run(
        self,
        argv: Sequence[str],
        timeout: float,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        *,
        root: bool = True,
    ) -> Completed:
        """Run a command, as root unless ``root`` is False, for at most ``timeout`` seconds.

        The server itself ends it when the time is up (timeout(1)). What is printed around it, by a shell profile or
        sudo, is not in the result. Raises Unreachable when the connection breaks, the time is up, or sudo refuses.
        """
        words = shlex.join(argv[:3])
        try:
            done = _unrefused(lambda: self._once(argv, timeout, input or b"", root=root))
        except Broken as error:
            raise _broken(self.target, f"`{words}`", error) from error
        return in_time(self.target, words, done, timeout)

    def _once(self, argv: Sequence[str], timeout: float, data: bytes, *, root: bool) -> Completed:
        try:
            with self._start(argv, timeout, root=root) as started:
                started.feed(data, time.monotonic() + timeout + _GRACE_S)
                return started.completed()
        except Refused:
            if self.spare is not None:
                self.spare()
            raise

    def start(self, argv: Sequence[str], timeout: float) -> Conversation:
        """Start a command as root that is sent lines and answers in lines; ``timeout`` bounds it as in :meth:`run`.

        Raises Unreachable when the connection breaks.
        """
        try:
            return Conversation(_unrefused(lambda: self._start(argv, timeout, root=True)))
        except Broken as error:
            raise _broken(self.target, f"`{shlex.join(argv[:3])}`", error) from error

    def _start(self, argv: Sequence[str], timeout: float, *, root: bool) -> _Started:
        bounded = ["timeout", "-k", "5", str(max(1, math.ceil(timeout))), *argv]
        wrapped = wrap(self.target, bounded, root=root)
        started = _Started(self.target, self._connection.start(wrapped.command), wrapped, root=root)
        if wrapped.prompt is not None:
            try:
                started.authenticate(time.monotonic() + timeout + _GRACE_S)
            except BaseException:
                started.close()
                raise
        return started

    def close(self) -> None:
        """Close the connection; commands still running on the server are left to their timeout(1)."""
        self._connection.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class _Started:
    """A command that was started, and all that came from it so far."""

    __slots__ = ("_channel", "_root", "_wrapped", "err", "out", "target")

    def __init__(self, target: Target, channel: Channel, wrapped: Wrapped, *, root: bool) -> None:
        self.target = target
        self._channel = channel
        self._wrapped = wrapped
        self._root = root
        self.out, self.err = bytearray(), bytearray()

    def authenticate(self, deadline: float) -> None:
        """Answer sudo when it asks for the password: before the command starts, so that it never reads it."""
        prompt, asked = self._wrapped.prompt or b"", 0
        while not self.beginning():
            if not self.take(deadline):
                return
            count = self.err.count(prompt)
            if count > 1:
                raise refusal(self.target, f"sudo: incorrect password for {self.target.user}", root=True)
            if count > asked:
                asked = count
                password = memoryview(f"{self.target.become_password}\n".encode())
                while password:
                    password = password[self._channel.send(password) :]

    def take(self, deadline: float) -> bool:
        """Collect what comes next; False when it has ended. Broken when the deadline is over."""
        if time.monotonic() > deadline:
            raise Broken("no answer in time")
        got = self._channel.receive(_POLL_S)
        if got is None:
            return False
        self.out += got[0]
        self.err += got[1]
        return True

    def poll(self, wait_s: float) -> bool | None:
        """As :meth:`take` without a deadline: whether something came, None when it has ended."""
        got = self._channel.receive(wait_s)
        if got is None:
            return None
        self.out += got[0]
        self.err += got[1]
        return bool(got[0] or got[1])

    def send(self, data: bytes) -> None:
        """Feed its input."""
        view = memoryview(data)
        while view:
            sent = self._channel.send(view)
            view = view[sent:]
            if not sent:
                time.sleep(_BUSY_S)

    def feed(self, data: bytes, deadline: float) -> None:
        """Feed its input to the end, and collect both outputs until it has ended."""
        view = memoryview(data)
        while view:
            sent = self._channel.send(view)
            view = view[sent:]
            if self.poll(0 if sent else _BUSY_S) is None:
                return
            if time.monotonic() > deadline:
                raise Broken("no answer in time")
        self._channel.end_input()
        while self.take(deadline):
            pass

    def end(self, deadline: float) -> None:
        """End its input, and collect both outputs until it has ended."""
        self.feed(b"", deadline)

    def beginning(self) -> int:
        """Where in ``out`` the command's own output begins; 0 as long as it has not been started."""
        return self._wrapped.beginning(self.out)

    def completed(self) -> Completed:
        """The result. Unreachable or Refused when the command was never started; Broken when it got no end."""
        errors, code = self._wrapped.errors(bytes(self.err))
        if not self.beginning():
            if _BY_PEER in self.err:
                raise Refused(_BY_PEER.decode())
            raise refusal(self.target, (self.out + self.err).decode("utf-8", "replace"), root=self._root)
        if code is None:
            raise Broken("it ended before the command did")
        said = self.out[self.beginning() :]
        return Completed(code, said.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Conversation:
    """A running command on a server: lines are sent and received, the end of its input makes it finish."""

    __slots__ = ("_done", "_read", "_searched", "_started")

    def __init__(self, started: _Started) -> None:
        self._started = started
        self._done: Completed | None = None
        self._read, self._searched = 0, 0

    def send(self, line: str) -> None:
        """Send a line; that the command has ended already is found by :meth:`receive`."""
        self._started.send(line.encode() + b"\n")

    def receive(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> str | None:
        """The next line of its output; None when it has ended, or when ``stop`` says so.

        Raises Unreachable when the connection breaks or no line comes for ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (line := self._line()) is None:
            try:
                came = self._started.poll(_POLL_S)
            except Broken as error:
                raise _broken(self._started.target, "a conversation", error) from error
            if came:
                continue
            if stop() or came is None:
                return None
            if time.monotonic() > deadline:
                raise Unreachable(f"no answer in {timeout:.0f} s", code="ssh.timeout", where=self._started.target.where)
        return line

    def _line(self) -> str | None:
        """The next line if all of it has come. Answers can be megabytes: no byte is searched twice."""
        out = self._started.out
        if not self._read:
            self._read = self._searched = self._started.beginning()
        end = out.find(b"\n", self._searched) if self._read else -1
        if end < 0:
            self._searched = max(self._read, len(out))
            return None
        line = out[self._read : end].decode("utf-8", "replace")
        self._read = self._searched = end + 1
        return line

    def finish(self, timeout: float) -> Completed:
        """End its input and wait until it has ended; output that was not received yet is in the result.

        Once it has ended the same result again. Raises Unreachable when it does not end within ``timeout``
        seconds, or the connection is lost.
        """
        if self._done is not None:
            return self._done
        try:
            with self._started:
                self._started.end(time.monotonic() + timeout)
                done = self._started.completed()
        except Broken as error:
            raise _broken(self._started.target, "a conversation", error) from error
        rest = bytes(self._started.out[self._read or self._started.beginning() :]).decode("utf-8", "replace")
        self._done = Completed(done.returncode, rest, done.stderr)
        return self._done


def _unrefused(begin: Callable[[], _Result]) -> _Result:
    """Begin something; again for a while where it is Refused, as the last command may not have ended for the server."""
    deadline = math.inf
    while True:
        try:
            return begin()
        except Refused:
            now = time.monotonic()
            deadline = min(deadline, now + _REFUSED_S)
            if now > deadline:
                raise
            time.sleep(_BUSY_S)


def in_time(target: Target, command: str, done: Completed, timeout: float) -> Completed:
    """``done``, unless timeout(1) has ended it: Unreachable then."""
    if done.returncode == _TIMED_OUT:
        raise Unreachable(f"`{command}` did not finish in {timeout:.0f} s", code="ssh.timeout", where=target.where)
    return done


def _broken(target: Target, command: str, error: Broken) -> Unreachable:
    return Unreachable(
        f"the connection broke during {command}: {error}", code="ssh.connection-lost", where=target.where
    )


def open_session(target: Target) -> Session:
    """Log in (see :func:`rbops.deploy.ssh.login.log_in`) for running commands with :meth:`Session.run`."""
    return Session(target, log_in(target))


def require_reachable(targets: Iterable[Target]) -> None:
    """Raise Unreachable naming every one of the servers that cannot be logged in to."""
    results = each(((target.name, target) for target in targets), lambda target: open_session(target).close())
    raise_errors(results)


def run(target: Target, argv: Sequence[str], timeout: float, input: bytes | None = None) -> Completed:  # noqa: A002
    """Run one command over a connection of its own; see :meth:`Session.run`."""
    with open_session(target) as session:
        return session.run(argv, timeout, input)
