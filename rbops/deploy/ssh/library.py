"""Connections of paramiko: a login straight to the server, by key, agent or password."""

from __future__ import annotations

import logging
import select
import socket
import time
from typing import Any

from rbops.deploy.ssh.channel import Broken, Refused
from rbops.deploy.ssh.refused import login_refused, no_answer, no_connection, unreadable
from rbops.deploy.ssh.target import Target
from rbops.deploy.ssh.without_invoke import paramiko

__all__ = ["LibraryConnection", "Undecided", "connect"]

_CHUNK = 65536
_POLL_S = 0.2
_KEEPALIVE_S, _SILENCE_MS = 5, 10_000


class Undecided(Exception):
    """paramiko cannot log in; OpenSSH may, and knows better why not."""


class LibraryConnection:
    """A login by paramiko."""

    __slots__ = ("_client", "_timeout_s")

    def __init__(self, client: paramiko.SSHClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    def start(self, command: str) -> LibraryChannel:
        """Start a command for the login shell; Broken when the connection is lost, Refused when there are too many."""
        try:
            transport = self._client.get_transport()
            if transport is None or not transport.is_active():
                raise Broken("it is closed")
            channel = transport.open_session(timeout=self._timeout_s)
            channel.settimeout(self._timeout_s)
            channel.exec_command(command)
        except paramiko.ChannelException as error:
            raise Refused(str(error)) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Broken(str(error)) from error
        return LibraryChannel(channel)

    def close(self) -> None:
        """Close the connection; commands still running on the server are left to their timeout(1)."""
        self._client.close()


class LibraryChannel:
    """A command over paramiko."""

    __slots__ = ("_channel",)

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: memoryview) -> int:
        """Feed what fits now into its input; returns how much that was."""
        try:
            return self._channel.send(bytes(data[:_CHUNK])) if self._channel.send_ready() else 0
        except OSError:
            return len(data)  # it has ended, or closed its input

    def end_input(self) -> None:
        """Nothing more goes into its input."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError) as error:
            raise Broken(str(error)) from error

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        """What came from stdout and stderr, after at most ``wait_s`` seconds; None when both have ended."""
        deadline = time.monotonic() + wait_s
        while True:
            # Asked before the data: what came before the exit status, or the end of the connection, is then read below.
            ended, lost = self._channel.exit_status_ready(), not self._channel.get_transport().is_active()
            out, err = self._take()
            if out or err:
                return out, err
            if ended and self._channel.eof_received:
                return None
            if lost:
                raise Broken("it was lost")
            left = deadline - time.monotonic()
            if left <= 0:
                return b"", b""
            self._wait(min(left, _POLL_S))

    def _take(self) -> tuple[bytes, bytes]:
        out, err = bytearray(), bytearray()
        try:
            while self._channel.recv_ready():
                out += self._channel.recv(_CHUNK)
            while self._channel.recv_stderr_ready():
                err += self._channel.recv_stderr(_CHUNK)
        except OSError as error:
            raise Broken(str(error)) from error
        return bytes(out), bytes(err)

    def _wait(self, seconds: float) -> None:
        # At the end of output the channel stays readable: wait for the exit status itself then.
        if self._channel.eof_received:
            self._channel.status_event.wait(seconds)
        else:
            select.select([self._channel], [], [], seconds)

    def close(self) -> None:
        """Give it up; the command may still run."""
        self._channel.close()


def connect(target: Target) -> LibraryConnection:
    """Log in within the target's time for each stage (TCP, banner, authentication).

    Raises Unreachable when the server does not answer, Undecided when it does and paramiko cannot log in.
    """
    timeout = target.connect_timeout_s
    # Failures are raised; paramiko's thread would print its traceback too.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    # paramiko takes a list of keys; its type stubs say one.
    keys: dict[str, Any] = {"key_filename": [str(path) for path in target.key_files]} if target.key_files else {}
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        _trust(client, target)
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
            **keys,
        )
    except TimeoutError as error:
        client.close()
        raise no_answer(target) from error
    except OSError as error:
        client.close()
        errors = (
            error.errors.values() if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError) else (error,)
        )
        first = next((one for one in errors if isinstance(one, OSError)), error)
        raise no_connection(target, first.strerror or str(first)) from error
    except (paramiko.SSHException, EOFError, ValueError) as error:
        client.close()
        if "protocol banner" in str(error):
            raise no_connection(target, str(error)) from error
        if target.password and isinstance(error, paramiko.AuthenticationException):
            # The same password once more would count as another attempt on the server.
            raise login_refused(target, str(error)) from error
        raise Undecided(str(error) or type(error).__name__) from error
    _notice_silence(client)
    return LibraryConnection(client, timeout)


def _notice_silence(client: paramiko.SSHClient) -> None:
    """Have the connection end when the server acknowledges nothing for a while (tcp(7)), whatever is waited for."""
    transport = client.get_transport()
    if transport is None or not isinstance(transport.sock, socket.socket):
        return
    # As OpenSSH's client does: else each short request waits for the acknowledgement of the last, 40 ms.
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, _KEEPALIVE_S),
        (socket.TCP_KEEPINTVL, _KEEPALIVE_S),
        (socket.TCP_USER_TIMEOUT, _SILENCE_MS),
    ):
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _trust(client: paramiko.SSHClient, target: Target) -> None:
    """Give the client the keys that known_hosts has for the server, under the name paramiko looks up."""
    connected = target.host if target.port == 22 else f"[{target.host}]:{target.port}"  # noqa: PLR2004 - ssh's port
    for path in target.known_hosts:
        try:
            found = paramiko.HostKeys(str(path)).lookup(target.host_key_name)
        except OSError as error:
            raise unreadable(target, error) from error
        for kind, key in (found or {}).items():
            client.get_host_keys().add(connected, kind, key)
