"""Connections of OpenSSH's client: one login a server, shared by its commands (ControlMaster, see ssh_config(5)).

Everything that ssh can do works here: jump hosts, agents of any kind, host certificates, patterns in known_hosts.
Nothing is asked on a terminal.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import IO

from rbops.deploy.handover import Handover
from rbops.deploy.sockets import SocketsFolder
from rbops.deploy.ssh.channel import Broken
from rbops.deploy.ssh.refused import explained, no_answer
from rbops.deploy.ssh.target import Target

__all__ = ["ClientConnection", "connect"]

_CHUNK = 65536
_END_S = 5.0
_READY = "rbops-connected"
_POLL_S = 0.2

# Ends ssh when standard input ends, as it does when rbops ends, however; and ends itself when ssh ends. The master is
# in a session of its own: Ctrl-C at the terminal must not take it away from a rollback.
_GUARD = (
    'exec 3<&0 </dev/null; "$@" 3<&- & ssh=$!; { cat <&3; kill "$ssh"; } >/dev/null 2>&1 & guard=$!; '
    'exec 3<&- >/dev/null; wait "$ssh"; code=$?; kill "$guard" 2>/dev/null; exit "$code"'
)

_OPTIONS = (
    "ControlMaster=yes",
    "ControlPersist=no",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "PermitLocalCommand=yes",
    f"LocalCommand=echo {_READY}",
    "RemoteCommand=none",
    "ForkAfterAuthentication=no",
    "ClearAllForwardings=yes",
    "LogLevel=INFO",
)


class ClientConnection:
    """A login by OpenSSH's client, kept open for commands."""

    __slots__ = ("_folder", "_handover", "_master", "_socket")

    def __init__(self, target: Target) -> None:
        self._folder = SocketsFolder()
        self._socket = self._folder.path / "s"
        self._handover = Handover(target.password) if target.password else None
        command = [
            "ssh",
            *self._options(target),
            "-N",
            "-T",
            *target.arguments,
            "--",
            target.destination or target.host,
        ]
        with (self._folder.path / "log").open("wb") as log:
            self._master = subprocess.Popen(
                ["sh", "-c", _GUARD, "rbops-ssh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

    def _options(self, target: Target) -> list[str]:
        timeout = max(1, round(target.connect_timeout_s))
        own = [f"ControlPath={self._socket}", f"ConnectTimeout={timeout}"]
        own += ["NumberOfPasswordPrompts=1"] if self._handover else ["BatchMode=yes"]
        return [word for option in (*_OPTIONS, *own) for word in ("-o", option)]

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "SSH_ASKPASS_REQUIRE": "never"}
        if self._handover:
            script = self._handover.script(self._folder.path / "askpass")
            environment |= {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}
        return environment

    def wait(self, target: Target) -> None:
        """Wait for the login; raises Unreachable with what ssh says when it fails or takes too long."""
        deadline = time.monotonic() + 3 * target.connect_timeout_s
        said = b""
        with selectors.DefaultSelector() as selector:
            pipe = _pipe(self._master.stdout)
            selector.register(pipe, selectors.EVENT_READ)
            while _READY.encode() not in said:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise no_answer(target)
                if selector.select(min(left, _POLL_S)):
                    got = os.read(pipe.fileno(), _CHUNK)
                    if not got:
                        self._master.wait(_END_S)
                        raise explained(target, self.log())
                    said += got

    def log(self) -> str:
        """What ssh printed."""
        return (self._folder.path / "log").read_text(encoding="utf-8", errors="replace")

    def alive(self) -> bool:
        """Whether the login still stands."""
        return self._master.poll() is None

    def start(self, command: str) -> ClientChannel:
        """Start a command for the login shell; Broken when the connection is lost."""
        if not self.alive():
            raise Broken(self._why())
        # Without the master it must fail, not log in anew.
        argv = ["ssh", "-F", "none", "-T", "-o", f"ControlPath={self._socket}", "-o", "ProxyCommand=false"]
        process = subprocess.Popen(
            [*argv, "-e", "none", "-o", "BatchMode=yes", "--", "rbops", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return ClientChannel(self, process)

    def _why(self) -> str:
        lines = [line for line in self.log().splitlines() if line.strip()]
        return lines[-1] if lines else "it is closed"

    def close(self) -> None:
        """End the login; commands still running on the server are left to their timeout(1)."""
        _pipe(self._master.stdin).close()
        try:
            self._master.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        _pipe(self._master.stdout).close()
        if self._handover:
            self._handover.close()
        self._folder.close()


class ClientChannel:
    """A command over the shared login."""

    __slots__ = ("_connection", "_open", "_process", "_selector")

    def __init__(self, connection: ClientConnection, process: subprocess.Popen[bytes]) -> None:
        self._connection = connection
        self._process = process
        self._selector = selectors.DefaultSelector()
        for pipe in (process.stdout, process.stderr):
            self._selector.register(_pipe(pipe), selectors.EVENT_READ)
        os.set_blocking(_pipe(process.stdin).fileno(), False)
        self._open = True

    def send(self, data: memoryview) -> int:
        """Feed what fits now into its input; returns how much that was."""
        try:
            return os.write(_pipe(self._process.stdin).fileno(), data[:_CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)

    def end_input(self) -> None:
        """Nothing more goes into its input."""
        _pipe(self._process.stdin).close()

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        """What came from stdout and stderr, after at most ``wait_s`` seconds; None when both have ended."""
        if not self._selector.get_map():
            return self._ended(wait_s)
        out, err = b"", b""
        for key, _ in self._selector.select(wait_s):
            got = os.read(key.fd, _CHUNK)
            if not got:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._process.stdout:
                out += got
            else:
                err += got
        return out, err

    def _ended(self, wait_s: float) -> tuple[bytes, bytes] | None:
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return b"", b""
        if not self._connection.alive():
            raise Broken("it was lost")
        return None

    def close(self) -> None:
        """Give it up; the command may still run."""
        self._selector.close()
        if self._process.poll() is None:
            self._process.terminate()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()
        self._process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise Broken("it has no such stream")
    return pipe


def connect(target: Target) -> ClientConnection:
    """Log in; Unreachable with what ssh says when that fails."""
    connection = ClientConnection(target)
    try:
        connection.wait(target)
    except BaseException:
        connection.close()
        raise
    return connection
