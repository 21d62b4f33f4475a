"""rbops's own SSH (paramiko): preflight, lock, transaction, confirmation and status.

Host keys are checked against known_hosts, always; nothing switches that off. Every wait is bounded.
Commands are argument lists, quoted with :func:`shlex.join` for the login shell: an argument
``$(reboot)`` arrives as those nine characters.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import paramiko

from rbops.deploy.inventory import Target
from rbops.errors import RbopsError, Unreachable

__all__ = [
    "Completed",
    "Conversation",
    "Session",
    "connect",
    "each",
    "open_session",
    "raise_errors",
    "require_reachable",
    "run",
]


_CHUNK = 65536
_POLL_S = 0.2
_GRACE_S = 5.0
_KEEPALIVE_S, _SILENCE_MS = 5, 10_000
_TIMED_OUT = 124  # timeout(1)
_WORKERS = 32

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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
    """An open connection to one server; use as a context manager."""

    __slots__ = ("_client", "target")

    def __init__(self, target: Target, client: paramiko.SSHClient) -> None:
        self.target = target
        self._client = client

    def run(
        self,
        argv: Sequence[str],
        timeout: float,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        *,
        root: bool = True,
    ) -> Completed:
        """Run a command, as root unless ``root`` is False, for at most ``timeout`` seconds.

        The server itself ends it when the time is up (timeout(1)). Raises Unreachable when the
        connection breaks, the time is up, or sudo requires a password.
        """
        full = self._bounded(argv, timeout, root=root)
        sudo = root and self.target.become
        try:
            done = self._exchange(shlex.join(full), timeout + _GRACE_S, input or b"")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(
                f"the connection broke during `{shlex.join(argv[:3])}`: {error}",
                code="ssh.connection-lost",
                where=self.target.where,
            ) from error
        if done.returncode == _TIMED_OUT:
            raise Unreachable(
                f"`{shlex.join(argv[:3])}` did not finish in {timeout:.0f} s",
                code="ssh.timeout",
                where=self.target.where,
            )
        if sudo and done.returncode == 1 and "sudo:" in done.stderr:
            _explain_sudo(self.target, done)
        return done

    def start(self, argv: Sequence[str], timeout: float) -> Conversation:
        """Start a command as root that is sent lines and answers in lines; ``timeout`` bounds it as in :meth:`run`.

        Raises Unreachable when the connection breaks.
        """
        try:
            transport = self._client.get_transport()
            if transport is None or not transport.is_active():
                raise paramiko.SSHException("it is closed")
            channel = transport.open_session(timeout=self.target.connect_timeout_s)
            channel.exec_command(shlex.join(self._bounded(argv, timeout, root=True)))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(
                f"the connection broke: {error}", code="ssh.connection-lost", where=self.target.where
            ) from error
        return Conversation(self.target, channel)

    def _bounded(self, argv: Sequence[str], timeout: float, *, root: bool) -> list[str]:
        full = ["timeout", "-k", "5", str(max(1, math.ceil(timeout))), *argv]
        return ["sudo", "-n", "--", *full] if root and self.target.become else full

    def _exchange(self, command: str, timeout: float, data: bytes) -> Completed:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise paramiko.SSHException("it is closed")
        deadline = time.monotonic() + timeout
        with transport.open_session(timeout=self.target.connect_timeout_s) as channel:
            channel.settimeout(timeout)
            channel.exec_command(command)
            out, err = _pump(channel, memoryview(data), deadline)
            return Completed(channel.recv_exit_status(), out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def close(self) -> None:
        """Close the connection; commands still running on the server are left to their timeout(1)."""
        self._client.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Conversation:
    """A running command on a server: lines are sent and received, the end of its input makes it finish."""

    __slots__ = ("_channel", "_done", "_err", "_out", "_target")

    def __init__(self, target: Target, channel: paramiko.Channel) -> None:
        self._target = target
        self._channel = channel
        self._done: Completed | None = None
        self._out, self._err = bytearray(), bytearray()

    def send(self, line: str) -> None:
        """Send a line; that the command has ended already is found by :meth:`receive`."""
        with contextlib.suppress(OSError):
            self._channel.sendall(line.encode() + b"\n")

    def receive(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> str | None:
        """The next line of its output; None when it has ended, or when ``stop`` says so.

        Raises Unreachable when the connection breaks or no line comes for ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while b"\n" not in self._out:
            ended, lost = self._channel.exit_status_ready(), not self._channel.get_transport().is_active()
            got = _take(self._channel, self._out, self._err)
            if got:
                continue
            if stop() or (ended and self._channel.eof_received):
                return None
            if lost:
                raise Unreachable("the connection was lost", code="ssh.connection-lost", where=self._target.where)
            if time.monotonic() > deadline:
                raise Unreachable(f"no answer in {timeout:.0f} s", code="ssh.timeout", where=self._target.where)
            _wait(self._channel)
        line, _, rest = bytes(self._out).partition(b"\n")
        self._out[:] = rest
        return line.decode("utf-8", "replace")

    def finish(self, timeout: float) -> Completed:
        """End its input and wait until it has ended; output that was not received yet is in the result.

        Once it has ended the same result again. Raises Unreachable when it does not end within ``timeout``
        seconds, or the connection is lost.
        """
        if self._done is not None:
            return self._done
        with self._channel:
            try:
                self._channel.shutdown_write()
                _drain(self._channel, self._out, self._err, time.monotonic() + timeout)
                code = self._channel.recv_exit_status()
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise Unreachable(
                    f"the connection broke before the command ended: {error}",
                    code="ssh.connection-lost",
                    where=self._target.where,
                ) from error
        self._done = Completed(code, self._out.decode("utf-8", "replace"), self._err.decode("utf-8", "replace"))
        return self._done


def _pump(channel: paramiko.Channel, data: memoryview, deadline: float) -> tuple[bytes, bytes]:
    """Feed stdin and collect both outputs until the command has ended."""
    out, err = bytearray(), bytearray()
    if not data:
        channel.shutdown_write()
    _drain(channel, out, err, deadline, data)
    return bytes(out), bytes(err)


def _drain(
    channel: paramiko.Channel, out: bytearray, err: bytearray, deadline: float, data: memoryview | None = None
) -> None:
    """Collect both outputs until the command has ended, feeding ``data`` and the end of input behind it."""
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError("no answer in time")
        if data and channel.send_ready():
            data = data[channel.send(bytes(data[:_CHUNK])) :]
            if not data:
                channel.shutdown_write()
        # Asked before the data: what came before the exit status, or the end of the connection, is then read below.
        ended, lost = channel.exit_status_ready(), not channel.get_transport().is_active()
        got = _take(channel, out, err)
        if ended and not got and channel.eof_received:
            return
        if lost and not got:
            raise paramiko.SSHException("it was lost")
        if not got and not (data and channel.send_ready()):
            # At the end of output the channel stays readable: wait for the exit status itself then.
            _wait(channel)


def _take(channel: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    """Add what has arrived; False when nothing had."""
    before = len(out) + len(err)
    while channel.recv_ready():
        out += channel.recv(_CHUNK)
    while channel.recv_stderr_ready():
        err += channel.recv_stderr(_CHUNK)
    return len(out) + len(err) > before


def _wait(channel: paramiko.Channel) -> None:
    if channel.eof_received:
        channel.status_event.wait(_POLL_S)
    else:
        select.select([channel], [], [], _POLL_S)


def _explain_sudo(target: Target, done: Completed) -> None:
    for marker, what in (
        ("password is required", "sudo requires a password"),
        ("not allowed", "sudo is not allowed"),
        ("may not run sudo", "sudo is not allowed"),
        ("not in the sudoers", "sudo is not allowed"),
        ("must have a tty", "sudo requires a terminal"),
    ):
        if marker in done.stderr:
            raise Unreachable(
                f"{what} for {target.user}",
                code="ssh.sudo",
                where=target.where,
                hint=f"let {target.user} use sudo without a password (NOPASSWD), or connect as root",
            )


def connect(target: Target) -> paramiko.SSHClient:
    """Open a connection within the target's time for each stage (TCP, banner, authentication).

    Raises Unreachable when the server does not answer, refuses the login, or shows a host key that
    is not the one in known_hosts.
    """
    timeout = target.connect_timeout_s
    # Failures are raised; paramiko's thread would print its traceback too.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    # paramiko takes a list of keys; its type stubs say one.
    keys: dict[str, Any] = {"key_filename": [str(path) for path in target.key_files]} if target.key_files else {}
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    _trust(client, target)
    try:
        client.connect(
            target.host,
            port=target.port,
            username=target.user,
            password=target.password,
            timeout=timeout,
            banner_timeout=timeout,
            auth_timeout=timeout,
            channel_timeout=timeout,
            allow_agent=not target.identities_only,
            look_for_keys=False,
            sock=_proxy(target),
            **keys,
        )
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        client.close()
        raise _unreachable(target, error) from error
    _notice_silence(client)
    return client


def _notice_silence(client: paramiko.SSHClient) -> None:
    """Have the connection end when the server acknowledges nothing for a while (tcp(7)), whatever is waited for."""
    transport = client.get_transport()
    # A proxy command has no such options; it ends by itself.
    if transport is None or not isinstance(transport.sock, socket.socket):
        return
    transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, _KEEPALIVE_S),
        (socket.TCP_KEEPINTVL, _KEEPALIVE_S),
        (socket.TCP_USER_TIMEOUT, _SILENCE_MS),
    ):
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _proxy(target: Target) -> paramiko.ProxyCommand | None:
    return paramiko.ProxyCommand(target.proxy_command) if target.proxy_command else None


def _host_key_name(target: Target) -> str:
    return target.host if target.port == 22 else f"[{target.host}]:{target.port}"  # noqa: PLR2004 - ssh's port


def _trust(client: paramiko.SSHClient, target: Target) -> None:
    """Give the client the keys that known_hosts has for the server, under the name paramiko looks up."""
    name = _host_key_name(target)
    for path in target.known_hosts:
        try:
            found = paramiko.HostKeys(str(path)).lookup(target.host_key_alias or name)
        except OSError as error:
            raise Unreachable(
                f"cannot read its known_hosts file: {error}", code="ssh.known-hosts", where=target.where
            ) from error
        for kind, key in (found or {}).items():
            client.get_host_keys().add(name, kind, key)


def _unreachable(target: Target, error: Exception) -> Unreachable:
    address = target.address
    files = ", ".join(str(path) for path in target.known_hosts) or "~/.ssh/known_hosts"
    if isinstance(error, paramiko.BadHostKeyException):
        return Unreachable(
            f"the host key of {address} is not the one in {files}",
            code="ssh.host-key-changed",
            where=target.where,
            hint="if the server was reinstalled, check its key on its console, then: "
            f"ssh-keygen -R {shlex.quote(_host_key_name(target))} and add the new one",
        )
    if isinstance(error, paramiko.AuthenticationException):
        return Unreachable(
            f"{address} refuses the login: {error}",
            code="ssh.login-refused",
            where=target.where,
            hint="check ansible_user and ansible_ssh_private_key_file in the inventory",
        )
    if "not found in known_hosts" in str(error):
        return Unreachable(
            f"the host key of {address} is not in {files}",
            code="ssh.host-key-unknown",
            where=target.where,
            hint=f"compare it on the server's console, then: ssh-keyscan -p {target.port} {target.host} >> {files}",
        )
    if isinstance(error, TimeoutError | socket.timeout):
        return Unreachable(
            f"{address} does not answer in {target.connect_timeout_s:.0f} s", code="ssh.no-answer", where=target.where
        )
    return Unreachable(
        f"cannot connect to {address}: {error or type(error).__name__}", code="ssh.no-connection", where=target.where
    )


def open_session(target: Target) -> Session:
    """Connect (see :func:`connect`) for running commands with :meth:`Session.run`."""
    return Session(target, connect(target))


def require_reachable(targets: Iterable[Target]) -> None:
    """Raise Unreachable naming every one of the servers that cannot be logged in to."""
    results = each(((target.name, target) for target in targets), lambda target: open_session(target).close())
    raise_errors(results)


def raise_errors(results: Mapping[str, object]) -> None:
    """Raise the only error among ``results`` itself; of several one with class and code of the highest exit code.

    Its message has every server's error, a line each, and ``causes`` are the errors themselves.
    """
    errors = [result for result in results.values() if isinstance(result, RbopsError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        worst = max(errors, key=lambda error: error.exit_code)
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        lines = "\n".join(str(error) for error in errors)
        raise type(worst)(lines, code=worst.code, hint="\n".join(hints) or None, causes=errors)


def run(target: Target, argv: Sequence[str], timeout: float, input: bytes | None = None) -> Completed:  # noqa: A002
    """Run one command over a connection of its own; see :meth:`Session.run`."""
    with open_session(target) as session:
        return session.run(argv, timeout, input)


def each(items: Iterable[tuple[_Key, _Item]], action: Callable[[_Item], _Result]) -> dict[_Key, _Result | RbopsError]:
    """Apply ``action`` to every item at the same time; an RbopsError is the result of its item."""

    def attempt(item: _Item) -> _Result | RbopsError:
        try:
            return action(item)
        except RbopsError as error:
            return error

    pairs = list(items)
    if not pairs:
        return {}
    with ThreadPoolExecutor(max_workers=min(_WORKERS, len(pairs))) as pool:
        results = pool.map(attempt, [item for _, item in pairs])
        return dict(zip([key for key, _ in pairs], results, strict=True))
