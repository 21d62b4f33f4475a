"""Many messages of a netlink socket by one system call: recvmmsg(2), which the socket module does not have."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket

__all__ = ["Many"]

_COUNT = 512
_FIRST, _MOST = 64, 1024
_REST = 1 << 18


class _Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Head(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("head", _Head), ("size", ctypes.c_uint32))


class Many:
    """Places for messages side by side, as wide as most of them were: messages of one length need no copying.

    What of a message does not fit lies in a place of its own; memory that nothing was written to is not there yet.
    """

    def __init__(self) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._heads = mmap.mmap(-1, _COUNT * _MOST)
        self._rests = mmap.mmap(-1, _COUNT * _REST)
        self._messages = (_Message * _COUNT)()
        self._parts = (_Part * (2 * _COUNT))()
        self._at = [ctypes.addressof(ctypes.c_char.from_buffer(memory)) for memory in (self._heads, self._rests)]
        for number, message in enumerate(self._messages):
            message.head.parts = ctypes.pointer(self._parts[2 * number])
            message.head.part_count = 2
            self._parts[2 * number + 1] = _Part(self._at[1] + number * _REST, _REST)
        words = ctypes.sizeof(_Message) // 4
        self._sizes = memoryview(self._messages).cast("B").cast("I")[_Message.size.offset // 4 :: words]
        self._lay(_FIRST)

    def _lay(self, width: int) -> None:
        self._width = width
        for number in range(_COUNT):
            self._parts[2 * number] = _Part(self._at[0] + number * width, width)

    def receive(self, fd: int) -> bytes:
        """What is there by now, without waiting, empty when nothing is. Raises OSError, ENOBUFS where some was lost."""
        count = self._call(fd, self._messages, _COUNT, int(socket.MSG_DONTWAIT), None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return b""
            raise OSError(code, os.strerror(code))
        width, sizes = self._width, self._sizes[:count].tolist()
        if sizes.count(width) == count:
            return self._heads[: count * width]
        found = [
            self._heads[at : at + size] if size <= width else self._whole(at, number, size)
            for number, (at, size) in enumerate(zip(range(0, count * width, width), sizes, strict=True))
        ]
        if sizes.count(sizes[0]) == count and sizes[0] <= _MOST:
            self._lay(sizes[0])
        return b"".join(found)

    def _whole(self, at: int, number: int, size: int) -> bytes:
        behind = number * _REST
        return self._heads[at : at + self._width] + self._rests[behind : behind + size - self._width]
