"""A stream of numbered packets from one tester to another, through the router; which of them arrived."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Stream", "streaming"]

_PORT = 40000
_EACH_S = 0.005
_DRAIN_S = 0.5
_NET = 0x40000000  # CLONE_NEWNET, linux/sched.h


class Stream:
    """Sends until it is closed. Numbers are 64 bits and never come again."""

    def __init__(self, sender: socket.socket, receiver: socket.socket, target: str) -> None:
        self._sender = sender
        self._receiver = receiver
        self._target = target
        self._sent = 0
        self._arrived: set[int] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def mark(self) -> int:
        """The number of the next packet."""
        return self._sent

    def lost(self, since: int) -> tuple[int, int]:
        """How many packets were sent since the mark, and how many of them have not arrived after a moment."""
        until = self._sent
        time.sleep(_DRAIN_S)
        return until - since, sum(number not in self._arrived for number in range(since, until))

    def close(self) -> None:
        """End both threads."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()

    def _send(self) -> None:
        while not self._over.wait(_EACH_S):
            try:
                self._sender.sendto(self._sent.to_bytes(8, "big"), (self._target, _PORT))
            except OSError:  # its router is off: not sent
                continue
            self._sent += 1

    def _receive(self) -> None:
        while not self._over.is_set():
            try:
                self._arrived.add(int.from_bytes(self._receiver.recv(64), "big"))
            except TimeoutError:
                continue


@contextmanager
def streaming(sender: str, receiver: str, target: str) -> Iterator[Stream]:
    """From the tester's namespace ``sender`` to ``target`` in the namespace ``receiver``."""
    out = _within(sender, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    into = _within(receiver, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    into.settimeout(0.2)
    into.bind((target, _PORT))
    stream = Stream(out, into, target)
    try:
        yield stream
    finally:
        stream.close()


def _within(netns: str, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket that belongs to another network namespace, made by a thread that enters it."""
    made: list[socket.socket] = []

    def enter() -> None:
        handle = os.open(Path("/run/netns", netns), os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(handle, _NET):
                raise OSError(ctypes.get_errno(), f"cannot enter {netns}")
            made.append(make())
        finally:
            os.close(handle)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]
