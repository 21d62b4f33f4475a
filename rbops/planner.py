"""From a spec to the whole router: topology, cabling, cores, addresses, routes and prediction.

Pure: the same spec gives the same plan, byte for byte. What the spec asks for and no plan can give
is a SpecError at the field that asks for it. The stages are in ``rbops.planning``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from rbops.dataplane import registry
from rbops.plan import ClusterPlan
from rbops.planning.calibration import cost_factor
from rbops.planning.checks import both, check_spec
from rbops.planning.demand import demand, pins
from rbops.planning.machines import machines
from rbops.planning.plan import assemble
from rbops.planning.prediction import Forecast, forecast
from rbops.planning.servers import Built, build
from rbops.planning.topology import setting, topology
from rbops.planning.tunnels import with_ends
from rbops.predict.calibrate import Measurement
from rbops.predict.packets import PacketMix, mix
from rbops.spec import Spec, load_spec
from rbops.topology.choice import Choice, Demand
from rbops.topology.external import externals

__all__ = ["Assumptions", "Planning", "calibrated", "load_plan", "plan_spec", "planning"]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a prediction supposes beyond the spec: a packet costs ``cost_factor`` times the profile's cycles,
    and packets are of ``packets`` (None: the spec's).
    """

    cost_factor: float = 1.0
    packets: PacketMix | None = None


@dataclass(frozen=True, slots=True)
class Planning:
    """A plan and the considerations behind it, for ``explain`` and ``predict``."""

    spec: Spec
    demand: Demand
    choice: Choice
    built: Built
    forecast: Forecast
    plan: ClusterPlan


def load_plan(path: str | PathLike[str], overrides: Mapping[str, str] | None = None) -> ClusterPlan:
    """The plan of the spec file ``path``; ``overrides`` as for ``load_spec``. Raises SpecError."""
    return plan_spec(load_spec(path, overrides))


def plan_spec(spec: Spec) -> ClusterPlan:
    """The plan of ``spec``. Raises SpecError with the field that cannot be served."""
    return planning(spec).plan


def planning(spec: Spec, assumptions: Assumptions = Assumptions()) -> Planning:
    """The plan of ``spec`` with what led to it. Raises SpecError."""
    packets = assumptions.packets or mix(spec.router.packets)
    made_of, pinned = both(lambda: machines(spec, assumptions.cost_factor), lambda: pins(spec))
    asked = demand(spec, made_of, packets, pinned)
    choice, ports = both(lambda: topology(spec, asked), lambda: externals(spec))
    built = build(spec, choice, made_of, ports)
    predicted = forecast(spec, setting(spec, choice), built.kinds, choice.stages, packets)
    additions = registry.controller(spec.dataplane).additions(spec)
    check_spec(spec, asked, choice, built, predicted)
    plan = with_ends(spec, assemble(spec, asked, choice, ports, built, predicted, additions))
    return Planning(spec, asked, choice, built, predicted, plan)


def calibrated(spec: Spec, measured: Measurement) -> Assumptions:
    """The cost factor with which the prediction for packets of the measured size meets the measurement.

    Raises UsageError when the measured rate is not one that the CPU limits.
    """
    return Assumptions(cost_factor(measured, lambda factor, size: planning(spec, Assumptions(factor, size)).forecast))
