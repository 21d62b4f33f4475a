"""FIFO queues of many links at once: when each frame has left (Lindley's recursion as a running maximum)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Line", "Served", "serve"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.signedinteger[Any]]

_APART = 1 << 44
"""Nanoseconds put between the frames of different links, so that one running maximum serves all: five hours."""

_FEW = 64
"""Up to so many links each gets a running maximum of its own."""


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
    count = len(link)
    if not count:
        return Served(np.empty(0, dtype=np.int64), None, free)
    order, begins, ends, present = _order(link, arrive, len(free))
    times, durations = arrive[order], duration[order]
    ready = _released(times, begins, ends, line)
    # The first frame waits for the link, the others for the first.
    ready[begins] = np.maximum(ready[begins], free[present])
    done = _send(ready, durations, begins, ends)
    dropped = None
    if int((done - times).max()) > line.buffer_ns:
        dropped = np.zeros(count, dtype=bool)
        for begin, end, last in zip(begins.tolist(), ends.tolist(), free[present].tolist(), strict=True):
            part = slice(begin, end)
            if int((done[part] - durations[part] - times[part]).max()) > line.buffer_ns:
                done[part], lost = _drop(times[part], ready[part], durations[part], last, line.buffer_ns)
                dropped[order[part]] = lost
    after = free.copy()
    after[present] = np.maximum(free[present], done[ends - 1])
    left = np.empty_like(done)
    left[order] = done
    return Served(left, dropped if dropped is not None and dropped.any() else None, after)


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
    room = 63 - bits - max(1, (links - 1).bit_length())
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


def _send(ready: Ints, durations: Ints, begins: Ints, ends: Ints) -> Ints:
    """Lindley: done = max over earlier frames of (ready + all durations since)."""
    total = np.cumsum(durations)
    done = ready - total
    done += durations
    if len(begins) <= _FEW:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            np.maximum.accumulate(done[begin:end], out=done[begin:end])
    else:
        apart = np.repeat(np.arange(len(begins)) * _APART, ends - begins)
        done += apart
        np.maximum.accumulate(done, out=done)
        done -= apart
    done += total
    return np.asarray(done, dtype=np.int64)


def _released(times: Ints, begins: Ints, ends: Ints, line: Line) -> Ints:
    """When frames are handed to the NIC: with the last of their batch, or when the batch's timeout is over."""
    if line.batch <= 1 or line.timeout_ns <= 0:
        return times.copy()
    sizes = ends - begins
    batches = -(-sizes // line.batch)
    number = np.arange(int(batches.sum())) - np.repeat(np.cumsum(batches) - batches, batches)
    first = np.repeat(begins, batches) + number * line.batch
    after = np.minimum(first + line.batch, np.repeat(ends, batches))
    release = np.repeat(np.minimum(times[after - 1], times[first] + line.timeout_ns), after - first)
    np.maximum(release, times, out=release)
    return np.asarray(release, dtype=np.int64)


def _drop(times: Ints, ready: Ints, durations: Ints, last: int, limit: int) -> tuple[Ints, Bools]:
    """One link frame by frame: what would wait longer than ``limit`` is dropped; ``last`` frees the link."""
    base = int(times[0])  # small numbers are the faster ones

    def free() -> Iterator[int]:
        until = last - base
        deadlines = times + (limit - base)
        for start, deadline, duration in zip(
            (ready - base).tolist(), deadlines.tolist(), durations.tolist(), strict=True
        ):
            if until < start:
                if start <= deadline:
                    until = start + duration
            elif until <= deadline:
                until += duration
            yield until

    done = np.fromiter(free(), np.int64, len(times)) + base
    return done, (np.diff(done, prepend=last) == 0) & (durations > 0)
