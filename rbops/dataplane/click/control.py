"""A running Click's handlers, over its control socket. Standard library only."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rbops.errors import CheckFailed, Mismatch

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Control", "HandlerError", "NoClick"]

_GREETING = b"Click::ControlSocket/1."
_TIMEOUT_S = 30.0
_LINE_BYTES = 1 << 16
_OK, _OK_WITH_WARNINGS = 200, 220


class NoClick(Mismatch):
    """No Click answers at the socket."""


class HandlerError(CheckFailed):
    """Click refused a handler, or the handler failed; the message has Click's own words."""


@dataclass(slots=True)
class Control:
    """One connection to the control socket ``path`` (``click -u``); a context manager.

    It stays good over a hot swap. Raises NoClick (3) when nothing answers there, or no more.
    """

    path: Path
    timeout_s: float = _TIMEOUT_S
    _socket: socket.socket | None = None
    _received: bytes = b""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(self.timeout_s)
        try:
            self._socket.connect(str(self.path))
            greeting = self._line()
        except OSError as error:
            self._socket.close()
            raise NoClick(
                f"no Click answers at {self.path}: {error.strerror or error}", code="click-control.no-click"
            ) from error
        if not greeting.startswith(_GREETING):
            self._socket.close()
            raise NoClick(
                f"unexpected greeting at {self.path}, expected Click's: {greeting[:40]!r}",
                code="click-control.greeting",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def read(self, handler: str, argument: str = "") -> str:
        """The text of a read handler, ``element.handler`` or a global one. HandlerError (1) when Click refuses."""
        data = argument.encode()
        command = f"READDATA {_name(handler)} {len(data)}\r\n" if data else f"READ {_name(handler)}\r\n"
        self._send(command.encode() + data, handler)
        head = self._line_of(handler)
        word, _, count = head.partition(b" ")
        if word != b"DATA" or not count.isdigit():
            raise HandlerError(f"{handler}: Click answered {head[:80]!r} instead of data", code="click-control.answer")
        return self._bytes(int(count), handler).decode("utf-8", "replace")

    def write(self, handler: str, text: str = "") -> str:
        """Call a write handler with ``text``; Click's warnings, most often none. HandlerError (1) when it fails."""
        data = text.encode()
        return self._send(f"WRITEDATA {_name(handler)} {len(data)}\r\n".encode() + data, handler)

    def _send(self, request: bytes, handler: str) -> str:
        """The answer's warnings; HandlerError with its messages when it is no success."""
        try:
            self._open().sendall(request)
        except OSError as error:
            raise self._gone(handler, error) from error
        code, messages = 0, []
        more = True
        while more:
            line = self._line_of(handler)
            try:
                code = int(line[:3])
            except ValueError:
                raise HandlerError(f"{handler}: Click answered {line[:80]!r}", code="click-control.answer") from None
            messages.append(line[4:].decode("utf-8", "replace").strip())
            more = line[3:4] == b"-"
        if code not in (_OK, _OK_WITH_WARNINGS):
            raise HandlerError(f"{handler}: {_said(messages)}", code="click-control.refused")
        return _said(messages) if code == _OK_WITH_WARNINGS else ""

    def _line_of(self, handler: str) -> bytes:
        try:
            return self._line()
        except OSError as error:
            raise self._gone(handler, error) from error

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > _LINE_BYTES:
                raise OSError("a line without end")
            self._more()
        line, _, self._received = self._received.partition(b"\n")
        return line.rstrip(b"\r")

    def _bytes(self, count: int, handler: str) -> bytes:
        chunks = [self._received[:count]]
        self._received = self._received[count:]
        missing = count - len(chunks[0])
        try:
            while missing:
                chunk = self._open().recv(min(missing, 1 << 20))
                if not chunk:
                    raise ConnectionResetError("it closed the connection")
                chunks.append(chunk)
                missing -= len(chunk)
        except OSError as error:
            raise self._gone(handler, error) from error
        return b"".join(chunks)

    def _more(self) -> None:
        chunk = self._open().recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("it closed the connection")
        self._received += chunk

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise NoClick(f"the connection to {self.path} is not open", code="click-control.closed")
        return self._socket

    def _gone(self, handler: str, error: OSError) -> NoClick:
        why = f"no answer in {self.timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        return NoClick(f"Click at {self.path} closed the connection during {handler}: {why}", code="click-control.lost")


def _name(handler: str) -> str:
    if not handler or any(letter.isspace() for letter in handler):
        raise HandlerError(f"{handler!r} is not a valid handler name", code="click-control.handler-name")
    return handler


def _said(messages: list[str]) -> str:
    """Click's words in one line; its own first one only names the handler where others follow."""
    useful = messages[1:] if len(messages) > 1 and messages[0].endswith(":") else messages
    return "; ".join(useful)
