"""FIFO queues of many links at once: when each frame has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.vlb.compiled import compiled

__all__ = ["Line", "Served", "serve"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """How links send: a frame waits for ``batch`` frames of its link or ``timeout_ns``.

    ``buffer_ns`` is the longest queue.
    """

    batch: int
    timeout_ns: int
    buffer_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """``left[f]`` when frame f is on the far side, in ns; ``dropped[f]`` where the queue was full (None: nowhere).

    ``free[l]``: when link l has sent all.
    """

    left: Ints
    dropped: Bools | None
    free: Ints


def serve(link: Numbers, arrive: Ints, duration: Ints, free: Ints, line: Line) -> Served:
    """Send frames over their links in order of arrival; equal times in order of index.

    ``duration`` is the time on the wire, ``free`` when each link is done with earlier frames (all in ns).
    """
    if not len(link):
        return Served(np.empty(0, dtype=np.int64), None, free)
    order, begins, ends, present = _order(link, arrive, len(free))
    left, dropped, after = np.empty(len(link), dtype=np.int64), np.zeros(len(link), dtype=bool), free.copy()
    limits = (max(1, line.batch) if line.timeout_ns > 0 else 1, line.timeout_ns, line.buffer_ns)
    lost = _send(order, begins, ends, present, arrive, duration, limits, left, dropped, after)
    return Served(left, dropped if lost else None, after)


def _order(link: Numbers, arrive: Ints, links: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Indexes by link, then arrival, then index; where each link present begins and ends, and its number.

    All three are packed into one number. No two are equal, so that the order of equal ones is nobody's concern and
    numpy's fastest sort does, which uses vector instructions.
    """
    if link[0] == link[-1] and (link == link[0]).all():
        whole = np.array([len(link)])
        return np.argsort(arrive, kind="stable"), whole - len(link), whole, link[:1].astype(np.int64)
    bits = max(1, (len(link) - 1).bit_length())
    key = arrive - arrive.min()
    room = 63 - bits - links.bit_length()
    shift = max(0, int(key.max()).bit_length() - room)
    if shift:
        key >>= shift
    key += link.astype(np.int64) << room
    key <<= bits
    key += np.arange(len(link))
    key.sort()
    bounds = np.searchsorted(key, np.arange(links, dtype=np.int64) << (room + bits))
    ends = np.append(bounds[1:], len(link))
    present = np.flatnonzero(ends > bounds)
    key &= (1 << bits) - 1
    return key, bounds[present], ends[present], present


@compiled
def _send(
    order: Ints,
    begins: Ints,
    ends: Ints,
    present: Ints,
    arrive: Ints,
    duration: Ints,
    limits: tuple[int, int, int],
    left: Ints,
    dropped: Bools,
    free: Ints,
) -> int:
    """Frame by frame: handed to the NIC with the last of its batch, or when the batch's timeout is over.

    What would wait longer than the buffer is dropped. Gives how many were.
    """
    batch, timeout, buffer = limits
    lost = 0
    for begin, end, link in zip(begins, ends, present):  # noqa: B905  numba has no strict
        until = free[link]
        for first in range(begin, end, batch):
            after = min(first + batch, end)
            release = arrive[order[first]]
            if batch > 1:
                release = min(arrive[order[after - 1]], release + timeout)
            for frame in order[first:after]:
                start = max(release, arrive[frame], until)
                if start - arrive[frame] <= buffer:
                    until = start + duration[frame]
                elif duration[frame] > 0:
                    dropped[frame] = True
                    lost += 1
                left[frame] = until
        free[link] = until
    return lost
