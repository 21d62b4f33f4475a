"""Predictions of one spec or of its variants, as text and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbops.planner import Planning
from rbops.predict.calibrate import Measurement
from rbops.report.explain import measurements
from rbops.report.plan import prediction_rows
from rbops.report.tables import Block, Table
from rbops.report.words import gbps, microseconds

__all__ = ["Scenario", "predict_blocks", "predict_json"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A variant of the spec: what was set, and its plan."""

    changes: Mapping[str, str]
    made: Planning


def predict_blocks(scenarios: Sequence[Scenario], factor: float, measured: Measurement | None) -> Iterator[Block]:
    """One prediction in full, or a table of several."""
    first = scenarios[0]
    if len(scenarios) == 1:
        changes = ", ".join(f"{key}={value}" for key, value in first.changes.items())
        title = f"Prediction for {first.made.plan.name}" + (f" with {changes}" if changes else "")
        yield Table(title, ("what", "value"), tuple(prediction_rows(first.made)))
        rows = tuple((one.what, gbps(one.value_bps), ours) for one, ours in measurements(first.made))
        if rows:
            yield Table("Measured in the paper", ("what", "paper", "rbops"), rows)
        if first.made.plan.warnings:
            yield "Warnings\n" + "\n".join(f"  - {text}" for text in first.made.plan.warnings)
    else:
        yield _table(scenarios)
    if measured is not None:
        yield (
            f"Calibrated: a packet costs {factor:.3f} times the profile's cycles, so that "
            f"{measured.size}-byte packets meet the measured {gbps(measured.rate_bps)}"
        )


def _table(scenarios: Sequence[Scenario]) -> Table:
    keys = tuple(scenarios[0].changes)
    columns = (*keys, "rate", "Mpps", "bottleneck", "3R .. 2R", "direct", "two hops", "servers", "power", "price")
    rows = []
    for scenario in scenarios:
        one, bounds = scenario.made.plan.prediction, scenario.made.forecast.bounds
        rows.append(
            (
                *(scenario.changes[key] for key in keys),
                gbps(one.rate_bps),
                f"{one.rate_pps / 1e6:.2f}",
                one.bottleneck,
                f"{gbps(bounds.at_3r_bps)} .. {gbps(bounds.high_bps)}",
                microseconds(one.latency_s.direct),
                microseconds(one.latency_s.indirect),
                str(scenario.made.plan.topology.servers),
                f"{one.power_w:.0f} W" if one.power_w is not None else "-",
                f"{one.price_usd:,.0f} USD" if one.price_usd is not None else "-",
            )
        )
    return Table(f"Predictions for {scenarios[0].made.plan.name}", columns, tuple(rows))


def predict_json(scenarios: Sequence[Scenario], factor: float, measured: Measurement | None) -> dict[str, Any]:
    """Every variant under ``scenarios``; the first one's prediction under ``prediction`` as well."""
    return {
        "schema_version": 1,
        "name": scenarios[0].made.plan.name,
        "prediction": dataclasses.asdict(scenarios[0].made.plan.prediction),
        "cost_factor": round(factor, 6),
        "measured": dataclasses.asdict(measured) if measured is not None else None,
        "scenarios": [_scenario(scenario) for scenario in scenarios],
    }


def _scenario(scenario: Scenario) -> dict[str, Any]:
    made, span = scenario.made, scenario.made.forecast.bounds
    return {
        "set": dict(scenario.changes),
        "prediction": dataclasses.asdict(made.plan.prediction),
        "bounds_bps": {"at_3r": span.at_3r_bps, "low": span.low_bps, "high": span.high_bps},
        "indirect": round(made.forecast.cluster.indirect, 6),
        "server_bps": {"application": made.forecast.app.rate_bps, "forward": made.forecast.forward.rate_bps},
        "server_latency_s": round(made.forecast.per_server_latency_s, 9),
        "servers": made.plan.topology.servers,
        "rack_units": sum(kind.machine.rack_units * len(kind.servers) for kind in made.built.kinds),
        "paper_bps": {one.what: one.value_bps for one, _ in measurements(made)},
        "warnings": list(made.plan.warnings),
    }
