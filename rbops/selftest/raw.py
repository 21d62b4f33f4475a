"""Whole frames of a tester, for what the generator's program cannot make: sent slowly, heard by a packet socket.

Standard library only. Source: packet(7).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable

from rbops.selftest.device import TesterDevice, packet_socket, send_frame

__all__ = ["ESP_PORT", "Raw", "is_esp"]

ESP_PORT = (4500).to_bytes(2, "big")

_ETH_ALL, _IPV4, _ESP, _UDP, _FRAME = 3, b"\x08\x00", 50, 17, 1 << 16
_OUTGOING = 4
"""PACKET_OUTGOING: what this machine sends."""
_SO_RCVBUFFORCE, _ROOM = 33, 32 << 20
_AGAIN_S, _TRIES = 0.01, 100


def is_esp(frame: bytes) -> bool:
    """Whether an IPv4 frame has ESP in it, by itself or in UDP (RFC 3948), and no fragment's rest."""
    if frame[23] == _ESP:
        return True
    ports = 14 + (frame[14] & 15) * 4 + 2
    return frame[23] == _UDP and frame[ports : ports + 2] == ESP_PORT and not frame[20] & 0x1F and not frame[21]


class Raw:
    """Frames of one device; what is heard are ESP packets, in UDP too, and those with a mark of the caller's."""

    def __init__(self, device: TesterDevice) -> None:
        self._device = device
        self._ear: socket.socket | None = None

    def listen(self) -> None:
        """Hear from now on; what was heard before is forgotten."""
        self.rest()
        # All protocols: of one alone nothing is heard where another device, such as a bridge, has taken this one over.
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ALL))
        ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        ear.bind((self._device.name, _ETH_ALL))
        ear.setblocking(False)  # noqa: FBT003 - the name of the method says it
        self._ear = ear

    def heard(self, mark: bytes) -> list[bytes]:
        """Frames since the last call that are ESP or have the mark in them."""
        found: list[bytes] = []
        while self._ear is not None:
            try:
                frame, source = self._ear.recvfrom(_FRAME)
            except BlockingIOError:
                break
            if source[2] != _OUTGOING and frame[12:14] == _IPV4 and (is_esp(frame) or mark in frame):
                found.append(frame)
        return found

    def send(self, frames: Iterable[bytes], pps: float) -> int:
        """Send them at this rate, in packets a second; how many the device took."""
        taken, start = 0, time.monotonic()
        with packet_socket(self._device.name) as mouth:
            for number, frame in enumerate(frames):
                time.sleep(max(0.0, start + number / pps - time.monotonic()))
                for _ in range(_TRIES):
                    if send_frame(mouth, frame):
                        taken += 1
                        break
                    time.sleep(_AGAIN_S)
        return taken

    def rest(self) -> None:
        """Hear no more."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None
