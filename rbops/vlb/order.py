"""Stable orders of small whole numbers, by 16 bits at a time: numpy sorts those by radix, which is much faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["grouped"]

Ints = npt.NDArray[np.int64]

_DIGIT = 16


def grouped(numbers: npt.NDArray[Any]) -> Ints:
    """Indexes that sort ``numbers`` (none negative); of equal ones the earlier first."""
    order: Ints = np.argsort(numbers.astype(np.uint16), kind="stable")
    shift, most = _DIGIT, int(numbers.max(initial=0))
    while most >> shift:
        digit = (numbers >> shift).astype(np.uint16)[order]
        order = order[np.argsort(digit, kind="stable")]
        shift += _DIGIT
    return order
