"""The reasons behind a plan, as text and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rbops.planner import Planning
from rbops.planning.explain import Reason, reasons
from rbops.predict.reference import Measured, disputed, measured_router, measured_server
from rbops.report.tables import Block, Table
from rbops.report.words import gbps

__all__ = ["explain_blocks", "explain_json", "measurements"]


def explain_blocks(made: Planning) -> Iterator[Block]:
    """A paragraph per choice, the paper's measurements, and the numbers it disputes with itself."""
    yield f"Why the plan of {made.plan.name} is as it is"
    for reason in _reasons(made):
        yield _paragraph(reason)
    found = measurements(made)
    if found:
        rows = tuple((one.what, gbps(one.value_bps), ours, one.section) for one, ours in found)
        yield Table("Measured in the paper", ("what", "paper", "rbops", "section"), rows)
    yield "Where the paper's text does not follow from its own constraints"
    for item in disputed():
        values = f"  paper:  {item.paper}\n  rbops:  {item.rbops}"
        yield f"{item.what} (paper {item.section})\n{values}\n  why:    {item.why}"


def explain_json(made: Planning) -> dict[str, Any]:
    """The same as an object."""
    return {
        "schema_version": 1,
        "name": made.plan.name,
        "digest": made.plan.digest,
        "choices": [dataclasses.asdict(reason) for reason in _reasons(made)],
        "measured": [{**dataclasses.asdict(one), "rbops": ours} for one, ours in measurements(made)],
        "disputed": [dataclasses.asdict(item) for item in disputed()],
    }


def measurements(made: Planning) -> list[tuple[Measured, str]]:
    """What the paper measured of this very setting, and rbops's value for it."""
    profile, app = made.forecast.kind.machine.name, made.spec.router.application
    found: list[tuple[Measured, str]] = []
    one = measured_server(app, made.forecast.packets.name) if profile == "nehalem" else None
    if one is not None:
        found.append((one, gbps(made.forecast.app.rate_bps)))
    router = measured_router(profile, made.spec.router.external_ports, app, made.forecast.packets.name)
    if router is not None:
        bounds = made.forecast.bounds
        span = f"{gbps(bounds.low_bps)} to {gbps(bounds.high_bps)}"
        found.append((router, f"{gbps(made.plan.prediction.rate_bps)}, expected {span}"))
    return found


def _reasons(made: Planning) -> tuple[Reason, ...]:
    return reasons(made.spec, made.demand, made.choice, made.built, made.forecast)


def _paragraph(reason: Reason) -> str:
    return (
        f"{reason.choice}: {reason.value}\n  formula:    {reason.formula}\n  inputs:     {reason.inputs}\n"
        f"  decided by: {reason.constraint}\n  paper:      section {reason.section}"
    )
