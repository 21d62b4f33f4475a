"""A self-test's measured rate as a correction of the cost model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rbops.errors import UsageError, Where

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

    Raises UsageError when the text is not such a result, or has no rate.
    """
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        text = f"not valid JSON: {error}"
        hint = "write it with rbops selftest --format json"
        raise UsageError(text, code="predict.not-json", where=name, hint=hint) from error
    rate = found.get("rate") if isinstance(found, dict) else None
    if not isinstance(rate, dict):
        hint = "run rbops selftest with its rate search"
        raise UsageError("no measured rate in it", code="predict.no-rate", where=name, hint=hint)
    size, pps = rate.get("size"), rate.get("rate_pps")
    if pps == 0:
        text = "no rate was free of loss, so there is nothing to calibrate with"
        raise UsageError(text, code="predict.rate-zero", where=name)
    if not isinstance(size, int) or isinstance(size, bool) or not _SMALLEST <= size <= _LARGEST:
        text = f"{size!r}, expected {_SMALLEST} to {_LARGEST} bytes"
        raise UsageError(text, code="predict.size", where=Where(file=name, field="rate.size"))
    if not isinstance(pps, int | float) or isinstance(pps, bool) or not 0 < pps < _FASTEST:
        text = f"{pps!r}, expected a number of packets per second"
        raise UsageError(text, code="predict.rate", where=Where(file=name, field="rate.rate_pps"))
    return Measurement(size, float(pps), rate.get("limit") == "testers")
