"""Scaling curves (paper Fig. 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rbops.predict.scale import POWERS, ScalePoint, SwitchedPoint, switched_usd
from rbops.report.tables import Block, Table
from rbops.report.words import gbps

__all__ = ["Curve", "Curves", "scale_blocks", "scale_json"]


@dataclass(frozen=True, slots=True)
class Curve:
    """One configuration; ``server_usd`` None: its servers have no price."""

    name: str
    points: tuple[ScalePoint, ...]
    server_usd: float | None


@dataclass(frozen=True, slots=True)
class Curves:
    """The configurations, and the switched cluster."""

    configurations: tuple[Curve, ...]
    switched: tuple[SwitchedPoint, ...]


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
