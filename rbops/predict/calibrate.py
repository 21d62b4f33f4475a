"""A self-test's measured rate as a correction of the cost model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rbops.errors import UsageError

__all__ = ["Measurement", "read_measurement"]

_SMALLEST, _LARGEST = 64, 9216
_FASTEST = 1e13


@dataclass(frozen=True, slots=True)
class Measurement:
    """The loss-free rate of the whole router: ``rate_pps`` packets of ``size`` bytes a second.

    ``limited_by_testers``: the router may do better, the generators could not.
    """

    size: int
    rate_pps: float
    limited_by_testers: bool

    @property
    def rate_bps(self) -> float:
        """The rate in bits a second."""
        return self.rate_pps * self.size * 8


def read_measurement(text: str, name: str) -> Measurement:
    """The rate in the JSON that ``rbops selftest --format json`` wrote; ``name`` is the file's, for messages.

    Raises UsageError when the text is no such result, or has no rate.
    """
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{name} is no JSON: {error}", hint="write it with rbops selftest --format json") from error
    rate = found.get("rate") if isinstance(found, dict) else None
    if not isinstance(rate, dict):
        raise UsageError(f"{name} holds no measured rate", hint="run rbops selftest with its rate search")
    size, pps = rate.get("size"), rate.get("rate_pps")
    if pps == 0:
        raise UsageError(f"{name}: no rate was free of loss, so nothing can be calibrated")
    if not isinstance(size, int) or isinstance(size, bool) or not _SMALLEST <= size <= _LARGEST:
        raise UsageError(f"{name}: rate.size is {size!r}, not a packet of {_SMALLEST} to {_LARGEST} bytes")
    if not isinstance(pps, int | float) or isinstance(pps, bool) or not 0 < pps < _FASTEST:
        raise UsageError(f"{name}: rate.rate_pps is {pps!r}, not packets a second")
    return Measurement(size, float(pps), rate.get("limit") == "testers")
