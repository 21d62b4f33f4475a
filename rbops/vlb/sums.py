"""Sums by index, the simulator's workhorse."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "sums"]

Floats = npt.NDArray[np.float64]


def sums(index: npt.NDArray[Any], values: npt.NDArray[Any], length: int) -> Floats:
    """For each number below ``length`` the sum of the ``values`` whose index it is."""
    return np.asarray(np.bincount(index, values, length), dtype=np.float64)
