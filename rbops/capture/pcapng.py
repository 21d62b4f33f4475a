"""Writing pcapng files (draft-ietf-opsawg-pcapng): Ethernet frames with interface, direction and time."""

from __future__ import annotations

import struct
from typing import IO, Literal

__all__ = ["PcapngWriter"]

_SECTION, _INTERFACE, _STATISTICS, _ENHANCED = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER = 0x1A2B3C4D
_ETHERNET = 1
_COMMENT, _APPLICATION, _NAME, _DESCRIPTION, _RESOLUTION, _FLAGS = 1, 4, 2, 3, 9, 2
_RECEIVED, _DROPPED = 4, 5
_NANOSECONDS = b"\x09"
_DIRECTIONS = {"in": 1, "out": 2}


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _options(*options: bytes) -> bytes:
    """Options with their end; none at all without any."""
    return b"".join(options) + bytes(4) if options else b""


class PcapngWriter:
    """Writes one section, little-endian, to a binary file that the caller opened and closes."""

    def __init__(self, file: IO[bytes], application: str, *, snaplen: int = 262144) -> None:
        self._file, self._snaplen, self._interfaces = file, snaplen, 0
        head = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
        self._block(_SECTION, head + _options(_option(_APPLICATION, application.encode())))

    def interface(self, name: str, description: str = "") -> int:
        """Describe an interface, before its first packet; returns its number."""
        options = [_option(_NAME, name.encode()), _option(_RESOLUTION, _NANOSECONDS)]
        if description:
            options.append(_option(_DESCRIPTION, description.encode()))
        self._block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, self._snaplen) + _options(*options))
        self._interfaces += 1
        return self._interfaces - 1

    def packet(
        self,
        interface: int,
        time_ns: int,
        frame: bytes,
        *,
        length: int | None = None,
        direction: Literal["in", "out"] | None = None,
        comment: str = "",
    ) -> None:
        """A frame without FCS, of ``length`` bytes on the wire where it is cut; ``time_ns`` since 1970."""
        wire = len(frame) if length is None else length
        frame = frame[: self._snaplen]
        head = struct.pack("<IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, len(frame), wire)
        options = [_option(_FLAGS, struct.pack("<I", _DIRECTIONS[direction]))] if direction else []
        if comment:
            options.append(_option(_COMMENT, comment.encode()))
        self._block(_ENHANCED, head + frame + bytes(-len(frame) % 4) + _options(*options))

    def statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """How many frames an interface had, and how many of them are not in the file for want of time or room."""
        head = struct.pack("<III", interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
        counts = (
            _option(code, struct.pack("<Q", value)) for code, value in ((_RECEIVED, received), (_DROPPED, dropped))
        )
        self._block(_STATISTICS, head + _options(*counts))

    def _block(self, kind: int, body: bytes) -> None:
        length = 12 + len(body)
        self._file.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))
