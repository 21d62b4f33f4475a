"""Scaling curves as text and JSON."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops import hardware
from rbops.cli.plan_text import gbps
from rbops.cli.tables import Block, Table
from rbops.errors import UsageError
from rbops.planner import planning
from rbops.predict.scale import POWERS, ScalePoint, SwitchedPoint, configuration, curve, switched, switched_usd
from rbops.spec import load_spec

__all__ = ["Curves", "curves", "scale_blocks", "scale_json"]

_FIGURE = ("current", "more_nics", "faster")


@dataclass(frozen=True, slots=True)
class Curve:
    """One configuration; ``server_usd`` None: its servers have no price."""

    name: str
    points: tuple[ScalePoint, ...]
    server_usd: float | None


@dataclass(frozen=True, slots=True)
class Curves:
    """All that were asked for, and the switched cluster."""

    configurations: tuple[Curve, ...]
    switched: tuple[SwitchedPoint, ...]


def curves(names: Sequence[str], spec: Path | None) -> Curves:
    """The configurations of Fig. 3 called ``names`` (all when none is named), and that of ``spec``.

    Raises UsageError for another name, SpecError for a wrong spec.
    """
    for name in names:
        if name not in _FIGURE:
            near = difflib.get_close_matches(name, _FIGURE, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(_FIGURE)}"
            raise UsageError(f"no configuration is called {name!r}", hint=hint)
    found: list[Curve] = []
    for name in names or _FIGURE:
        machine = hardware.profile(name)
        found.append(Curve(name, curve(configuration(machine)), machine.price_usd))
    if spec is not None:
        made = planning(load_spec(spec))
        found.append(Curve(made.plan.name, curve(made.demand), made.demand.default.machine.price_usd))
    return Curves(tuple(found), switched())


def scale_blocks(found: Curves) -> Iterator[Block]:
    """A table per configuration, and the switched cluster."""
    for one in found.configurations:
        rows = tuple(_row(point, one.server_usd) for point in one.points)
        columns = ("ports", "topology", "port servers", "intermediate", "servers", "internal link", "price")
        yield Table(f"Servers, {one.name}", columns, rows)
        served = {point.ports for point in one.points}
        if missing := [str(ports) for ports in POWERS if ports not in served]:
            yield f"No topology of {one.name} serves {', '.join(missing)} ports."
    rows = tuple(
        (str(point.ports), str(point.switches), str(point.server_equivalents), f"{switched_usd(point):,} USD")
        for point in found.switched
    )
    yield Table(
        "Instead: a server a port around 48-port 10 Gbps switches (paper 3.3)",
        ("ports", "switches", "server equivalents", "price"),
        rows,
    )


def _row(point: ScalePoint, usd: float | None) -> tuple[str, ...]:
    kind = "mesh" if point.topology == "mesh" else f"{point.degree}-ary {point.stages}-fly"
    price = f"{usd * point.servers:,.0f} USD" if usd is not None else "-"
    counts = (str(point.port_servers), str(point.intermediate_servers), str(point.servers))
    return (str(point.ports), kind, *counts, gbps(point.internal_link_bps), price)


def scale_json(found: Curves) -> dict[str, Any]:
    """The form that other tools read."""
    return {
        "schema_version": 1,
        "configurations": {
            one.name: [dataclasses.asdict(point) for point in one.points] for one in found.configurations
        },
        "switched": [dataclasses.asdict(point) for point in found.switched],
    }
