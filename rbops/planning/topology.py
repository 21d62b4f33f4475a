"""Stage 3: the interconnect that serves the demand, or the fields of the spec that ask for too much."""

from __future__ import annotations

from dataclasses import replace

from rbops.errors import Diagnostic, SpecError
from rbops.planning.checks import unknown_hosts
from rbops.predict.cluster import Setting
from rbops.predict.quota import Mesh, direct_quota
from rbops.spec.document import Spec
from rbops.spec.source import Path
from rbops.topology.choice import Choice, Demand, Impossible, choose

__all__ = ["logical_mesh", "setting", "topology"]


def topology(spec: Spec, demand: Demand) -> Choice:
    """The topology chosen for ``demand``. Raises SpecError with all fields that rule one out."""
    try:
        return choose(demand)
    except Impossible as error:
        wrong = _mistakes(spec, error)
        if any(one.field.startswith("port ") for one in (error, *error.also)):
            # What is wrong whatever the pins are.
            try:
                wrong += unknown_hosts(spec, choose(replace(demand, pins=())))
            except Impossible as other:
                wrong += _mistakes(spec, other)
        raise SpecError(wrong) from error


def setting(spec: Spec, choice: Choice) -> Setting:
    """The chosen topology as the prediction's question."""
    trial, joined = choice.trial, spec.interconnect
    return Setting(
        ports=spec.router.external_ports,
        line_rate_bps=spec.router.line_rate_bps,
        servers=trial.port_servers,
        most=choice.most,
        link_bps=trial.rate_bps * trial.parallel,
        quota_bps=direct_quota(logical_mesh(choice, spec.router.line_rate_bps), joined.direct_quota),
        worst_case=spec.router.traffic == "worst-case",
        direct=joined.routing == "direct-vlb",
    )


def logical_mesh(choice: Choice, line_rate_bps: int) -> Mesh:
    """The port servers and what is there between two of them.

    The links of a fly are made for ``required_bps`` when each pair of servers has VLB's 2sR/M: what they provide beyond
    that is there for every pair in the same proportion.
    """
    trial = choice.trial
    rate, link = choice.most * line_rate_bps, trial.rate_bps * trial.parallel
    if trial.kind == "fly":
        link = 2 * rate * link // (trial.port_servers * trial.required_bps)
    return Mesh(trial.port_servers, rate, link)


def _mistakes(spec: Spec, error: Impossible) -> list[Diagnostic]:
    pins: dict[str, Path] = {f"port {port.id}": ("ports", at, "server") for at, port in enumerate(spec.ports)}
    return [
        spec.source.mistake(pins.get(one.field, tuple(one.field.split("."))), str(one), one.hint, code=one.code)
        for one in (error, *error.also)
    ]
