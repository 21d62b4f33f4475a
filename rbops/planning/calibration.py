"""A measured rate as a factor on the cost model."""

from __future__ import annotations

from collections.abc import Callable

from rbops.errors import UsageError
from rbops.planning.prediction import Forecast
from rbops.predict.calibrate import Measurement
from rbops.predict.packets import PacketMix

__all__ = ["cost_factor"]

_STEPS = 12


def cost_factor(measured: Measurement, predicted: Callable[[float, PacketMix], Forecast]) -> float:
    """The factor with which the prediction for packets of the measured size meets the measurement.

    ``predicted`` gives the forecast for a factor and packets. Raises UsageError when the measured rate is not one
    that the CPU limits.
    """
    size = PacketMix(f"{measured.size}B", ((measured.size, 1.0),))
    factor = 1.0
    # Batching and buses keep the rate from being proportional to the factor, so it takes a few steps.
    for _ in range(_STEPS):
        made = predicted(factor, size)
        if made.cluster.bottleneck != "cpu" and made.prediction.rate_bps <= measured.rate_bps:
            raise UsageError(
                f"the measured {measured.rate_bps / 1e9:.2f} Gbps of {size.name} packets cannot calibrate the CPU's "
                f"cost: the prediction is limited by {made.cluster.bottleneck}, "
                f"{made.prediction.rate_bps / 1e9:.2f} Gbps",
                code="predict.not-cpu-bound",
                hint="measure with smaller packets",
            )
        factor *= made.prediction.rate_bps / measured.rate_bps
    return factor
