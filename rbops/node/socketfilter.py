"""Classic BPF on a socket (linux/filter.h, Documentation/networking/filter.rst). Standard library only."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

__all__ = ["attach"]

_SO_ATTACH_FILTER = 26


def attach(link: socket.socket, lines: Sequence[tuple[int, int, int, int]]) -> None:
    """Let the kernel drop what the program returns 0 for. ``lines``: (code, true offset, false offset, k)."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    link.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(lines), ctypes.addressof(code)))
