"""Fixed amounts of work to compare others with, so that a slow or busy machine hides no slow program, and excuses one.

Each loop takes a known CPU time on the reference, a core of the virtual machine (two cores of a Xeon) on which the
budgets were set: the least of 40 runs. A budget of seconds there is a budget of loops anywhere, so figures are given
as on the reference: measured seconds times what the loop takes there over what it took around the measurement.
"""

from __future__ import annotations

import time

import numpy as np

__all__ = ["NUMPY_REFERENCE_S", "PYTHON_REFERENCE_S", "numpy_loop", "python_loop"]

PYTHON_REFERENCE_S = 0.05
NUMPY_REFERENCE_S = 0.025


def python_loop() -> float:
    """CPU seconds of making, storing and joining texts, as a planner does."""
    start = time.thread_time()
    names: dict[tuple[int, int], str] = {}
    for index in range(120_000):
        names[index & 255, index >> 8] = f"n{index & 255}:int{index >> 8}"
    "".join(sorted(names.values()))
    return time.thread_time() - start


def numpy_loop() -> float:
    """CPU seconds of working through large arrays in pieces that fit a cache, as the simulator does."""
    random = np.random.default_rng(1)
    keys = random.integers(0, 1 << 40, 1 << 20)
    places = (keys & 0xFFFF).astype(np.int32)
    table = keys[: 1 << 16].copy()
    results = np.empty_like(keys)
    start = time.thread_time()
    for begin in range(0, len(keys), 1 << 15):
        piece = slice(begin, begin + (1 << 15))
        found = table[places[piece]]
        order = np.argsort((found & 63).astype(np.uint16), kind="stable")
        np.cumsum(found[order], out=results[piece])
        np.bincount(places[piece] & 63, keys[piece].astype(np.float64), 64)
        np.maximum.accumulate(results[piece], out=results[piece])
        np.sort(keys[piece])
    return time.thread_time() - start
