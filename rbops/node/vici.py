"""strongSwan's control protocol, vici: requests and answers as sections of text, over its socket.

The form is that of strongSwan's src/libcharon/plugins/vici/README.md. Values are bytes on the wire:
UTF-8 here, or given as bytes, which secrets may be.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from rbops.node.daemonuser import silent

__all__ = ["Section", "Vici", "decoded", "encoded"]

Section = Mapping[str, Any]
"""Keys to text, bytes, lists of these, or sections."""

_REQUEST, _RESPONSE, _REGISTER, _CONFIRM, _EVENT = 0, 1, 3, 5, 7
_SECTION, _SECTION_END, _VALUE, _LIST, _ITEM, _LIST_END = 1, 2, 3, 4, 5, 6
_LENGTH = struct.Struct(">I")
_ANSWER_S = 20.0


class Vici:
    """One connection to the daemon's socket, for ``with``. CheckFailed (1) where it does not answer."""

    def __init__(self, path: Path, timeout_s: float = _ANSWER_S) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.settimeout(timeout_s)
        try:
            self._link.connect(str(path))
        except OSError as error:
            self._link.close()
            raise silent("ike", error.strerror or str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def ask(self, command: str, message: Section | None = None) -> dict[str, Any]:
        """The answer to a command, which may say ``success: no`` and why."""
        self._send(bytes((_REQUEST,)) + _name(command) + encoded(message or {}))
        kind, data = self._receive()
        if kind != _RESPONSE:
            raise silent("ike", f"it does not know {command}")
        return decoded(data)

    def stream(self, command: str, event: str, message: Section | None = None) -> list[dict[str, Any]]:
        """The events that a command is answered with, one for each thing that it lists."""
        self._send(bytes((_REGISTER,)) + _name(event))
        if self._receive()[0] != _CONFIRM:
            raise silent("ike", f"it does not know {event}")
        self._send(bytes((_REQUEST,)) + _name(command) + encoded(message or {}))
        found: list[dict[str, Any]] = []
        while True:
            kind, data = self._receive()
            if kind != _EVENT:
                return found
            found.append(decoded(data[1 + data[0] :]))

    def _send(self, packet: bytes) -> None:
        try:
            self._link.sendall(_LENGTH.pack(len(packet)) + packet)
        except OSError as error:
            raise silent("ike", error.strerror or str(error)) from error

    def _receive(self) -> tuple[int, bytes]:
        packet = self._exactly(_LENGTH.unpack(self._exactly(_LENGTH.size))[0])
        return packet[0], packet[1:]

    def _exactly(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size and (more := self._link.recv(size - len(data))):
                data += more
        except OSError as error:
            raise silent("ike", error.strerror or str(error)) from error
        if len(data) < size or not data:
            raise silent("ike", "it closed its socket")
        return data


def encoded(message: Section) -> bytes:
    """A message's elements."""
    data = b""
    for key, value in message.items():
        if isinstance(value, Mapping):
            data += bytes((_SECTION,)) + _name(key) + encoded(value) + bytes((_SECTION_END,))
        elif isinstance(value, list | tuple):
            items = b"".join(bytes((_ITEM,)) + _value(item) for item in value)
            data += bytes((_LIST,)) + _name(key) + items + bytes((_LIST_END,))
        else:
            data += bytes((_VALUE,)) + _name(key) + _value(value)
    return data


def decoded(data: bytes) -> dict[str, Any]:
    """The message that elements are, with replacement characters for what is no UTF-8. CheckFailed (1) if cut short."""
    found: dict[str, Any] = {}
    stack: list[Any] = [found]
    try:
        for kind, name, value in _elements(data):
            if kind in (_SECTION, _LIST):
                new: dict[str, Any] | list[str] = {} if kind == _SECTION else []
                stack[-1][name] = new
                stack.append(new)
            elif kind in (_SECTION_END, _LIST_END):
                stack.pop()
            elif kind == _ITEM:
                stack[-1].append(value)
            else:
                stack[-1][name] = value
    except (struct.error, IndexError, TypeError, AttributeError) as error:
        raise silent("ike", "its answer cannot be read") from error
    return found


def _elements(data: bytes) -> Iterator[tuple[int, str, str]]:
    at = 0
    while at < len(data):
        kind, at, name, value = data[at], at + 1, "", ""
        if kind in (_SECTION, _VALUE, _LIST):
            size = data[at]
            name, at = data[at + 1 : at + 1 + size].decode("utf-8", "replace"), at + 1 + size
        if kind in (_VALUE, _ITEM):
            (size,) = struct.unpack_from(">H", data, at)
            value, at = data[at + 2 : at + 2 + size].decode("utf-8", "replace"), at + 2 + size
        yield kind, name, value


def _name(text: str) -> bytes:
    return bytes((len(text.encode()),)) + text.encode()


def _value(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(data)) + data
