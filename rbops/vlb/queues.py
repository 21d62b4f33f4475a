"""FIFO queues of many links at once: when each frame has left (Lindley's recursion as a running maximum)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Line", "Served", "serve"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_APART = 1 << 44
"""Nanoseconds put between the frames of different links, so that one running maximum serves all: five hours."""


@dataclass(frozen=True, slots=True)
class Line:
    """How links send: a frame waits for ``batch`` frames of its link or ``timeout_ns``; ``buffer_ns`` is the longest queue."""

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


def serve(link: Ints, arrive: Ints, duration: Ints, free: Ints, line: Line) -> Served:
    """Send frames over their links in order of arrival; equal times in order of index.

    ``duration`` is the time on the wire, ``free`` when each link is done with earlier frames (all in ns).
    """
    count = len(link)
    if not count:
        return Served(np.empty(0, dtype=np.int64), None, free)
    order = _order(link, arrive, len(free))
    links, times, durations = link[order], arrive[order], duration[order]
    begins = np.flatnonzero(np.diff(links, prepend=-1))
    ends = np.append(begins[1:], count)
    ready = _released(times, begins, ends, line)
    before = np.repeat(free[links[begins]], ends - begins)
    np.maximum(ready, before, out=ready)
    # Time 0 is the first frame's, so that links stay apart whatever the time of day.
    zero = int(times.min())
    apart = np.repeat(np.arange(len(begins)) * _APART, ends - begins)
    total = np.cumsum(durations)
    done = np.maximum.accumulate(ready - zero + apart - total + durations) + total - apart + zero
    waited = done - durations - times
    dropped = None
    if int(waited.max()) > line.buffer_ns:
        dropped = np.zeros(count, dtype=bool)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if int(waited[begin:end].max()) > line.buffer_ns:
                part = slice(begin, end)
                done[part], dropped[part] = _drop(times[part], ready[part], durations[part], line.buffer_ns)
    after = free.copy()
    after[links[begins]] = np.maximum(after[links[begins]], done[ends - 1])
    left = np.empty_like(done)
    left[order] = done
    if dropped is not None:
        lost = np.zeros(count, dtype=bool)
        lost[order] = dropped
        dropped = lost
    return Served(left, dropped, after)


def _order(link: Ints, arrive: Ints, links: int) -> Ints:
    """Indexes by link, then arrival, then index: packed into one number each and sorted, which beats an indirect sort."""
    bits = max(1, (len(link) - 1).bit_length())
    since = arrive - arrive.min()
    room = 63 - bits - max(1, (links - 1).bit_length())
    shift = max(0, int(since.max()).bit_length() - room)
    key = ((link << room | since >> shift) << bits) | np.arange(len(link))
    key.sort()
    return np.asarray(key & ((1 << bits) - 1), dtype=np.int64)


def _released(times: Ints, begins: Ints, ends: Ints, line: Line) -> Ints:
    """When frames are handed to the NIC: with the last of their batch, or when the batch's timeout is over."""
    if line.batch <= 1 or line.timeout_ns <= 0:
        return times.copy()
    sizes = ends - begins
    batches = -(-sizes // line.batch)
    number = np.arange(int(batches.sum())) - np.repeat(np.cumsum(batches) - batches, batches)
    first = np.repeat(begins, batches) + number * line.batch
    after = np.minimum(first + line.batch, np.repeat(ends, batches))
    release = np.minimum(times[after - 1], times[first] + line.timeout_ns)
    return np.asarray(np.maximum(times, np.repeat(release, after - first)), dtype=np.int64)


def _drop(times: Ints, ready: Ints, durations: Ints, limit: int) -> tuple[Ints, Bools]:
    """One link frame by frame: what would wait longer than ``limit`` is dropped."""
    done: list[int] = []
    dropped: list[bool] = []
    last = 0
    for time, start, duration in zip(times.tolist(), ready.tolist(), durations.tolist(), strict=True):
        begin = max(start, last)
        lost = begin - time > limit
        if not lost:
            last = begin + duration
        dropped.append(lost)
        done.append(last)
    return np.array(done, dtype=np.int64), np.array(dropped, dtype=bool)
