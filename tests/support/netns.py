"""Entering network namespaces that a test made."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["inside"]


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Be in a network namespace, by its name or a path, for a while (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(Path("/run/netns", namespace), os.O_RDONLY)
    try:
        assert libc.setns(there, 0x40000000) == 0
        yield
    finally:
        assert libc.setns(back, 0x40000000) == 0
        os.close(there)
        os.close(back)
