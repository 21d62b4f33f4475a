"""Fair shares of the outputs, and how near to them a router comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.vlb.matrix import Floats

__all__ = ["jain", "max_min"]


def jain(values: npt.NDArray[Any]) -> float:
    """Jain's index: 1 when all values are equal, 1/n when one has everything; 1 for none."""
    squares = float(np.square(values, dtype=np.float64).sum()) * len(values)
    return float(values.sum()) ** 2 / squares if squares else 1.0


def max_min(offered: Floats, capacity: float) -> Floats:
    """Each pair's max-min fair rate when every output carries ``capacity``: columns are shared by filling."""
    fair = offered.copy()
    for column in np.flatnonzero(offered.sum(axis=0) > capacity).tolist():
        demand = np.sort(offered[:, column])
        left, level = capacity, 0.0
        for position, wanted in enumerate(demand.tolist()):
            level = left / (len(demand) - position)
            if wanted > level:
                break
            left -= wanted
        fair[:, column] = np.minimum(offered[:, column], level)
    return fair
