"""One or several results as a self-contained HTML page: no script, no file beside it, light and dark, for print too."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rbops.report.results.charts import bars, latency, rate_search, topology
from rbops.report.results.compare import changes, series
from rbops.report.results.document import LatencyDoc, ResultDoc
from rbops.report.results.phases import PhaseDoc
from rbops.report.selftest_paper import paper_rows
from rbops.report.selftest_rates import LIMITS
from rbops.resources import shared
from rbops.selftest.beside import PaperFigure
from rbops.selftest.sizes import frames

__all__ = ["comparison_page", "page"]

_SHADES = 5


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of the matrix: ``tone`` is good, bad or none, ``shade`` 0 to 5 its packets beside the most."""

    text: str
    tone: str
    shade: int


def page(result: ResultDoc) -> str:
    """The page of one run."""
    servers = list(dict.fromkeys(port.server for port in result.ports))
    ports: dict[str, list[int]] = {}
    for port in result.ports:
        ports.setdefault(port.server, []).append(port.id)
    spread = [path for phase in result.phases for path in phase.spread]
    return _render(
        "result.html.j2",
        result=result,
        lost=sum(phase.lost for phase in result.phases),
        topology=topology(servers, ports, spread) if servers else "",
        matrices=[(phase, _matrix(phase)) for phase in result.phases if len(phase.sources) > 1],
        names={port.id: port.server for port in result.ports},
        shares=[(phase, _shares(phase)) for phase in result.phases if phase.spread],
        even=[phase for phase in result.phases if phase.balance and len(phase.sources) > 1],
        loads=[(phase, _loads(phase)) for phase in result.phases if phase.queues],
        search=rate_search(result.rate) if result.rate else "",
        latencies=list(_latencies(result)),
        paper=paper_rows([PaperFigure(**one.model_dump()) for one in result.paper]),
        limit=LIMITS[result.rate.limit] if result.rate else "",
        download=base64.b64encode(result.model_dump_json(by_alias=True, indent=1).encode()).decode(),
    )


def comparison_page(results: Sequence[ResultDoc], names: Sequence[str]) -> str:
    """The page of several runs beside each other."""
    found = series(results)
    return _render(
        "comparison.html.j2",
        results=list(zip(names, results, strict=True)),
        series=found,
        changes={(change.series.name, change.run): change for change in changes(found)},
        names=names,
    )


def _render(template: str, **values: Any) -> str:
    loader = FileSystemLoader(shared("templates", "report"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bytes"] = base64.b64decode
    environment.filters["reordered"] = lambda late, n: sum(count for degree, count in late.degrees if degree >= n)
    environment.filters["frames"] = lambda one: frames(one.size, one.mix)
    environment.filters["load"] = load_name
    environment.filters["micro"] = lambda seconds: f"{1e6 * seconds:,.4g}"
    environment.filters["number"] = lambda value: f"{value:,.0f}"
    environment.filters["mega"] = lambda value: f"{value / 1e6:,.3g}"
    return environment.get_template(template).render(**values)


def _latencies(result: ResultDoc) -> Iterator[tuple[str, list[LatencyDoc]]]:
    """For each family, size or mix, and way: the chart, loads and the testers alone as curves, and its points."""
    for shape in dict.fromkeys((point.family, point.size, point.mix, point.way) for point in result.latency):
        points = [point for point in result.latency if (point.family, point.size, point.mix, point.way) == shape]
        curves = {load_name(point.part): point.histogram_ns for point in points}
        yield latency({**curves, "testers alone": points[0].floor.histogram_ns}), points


def load_name(part: float | None) -> str:
    """How a load is called: ``unloaded``, ``at 50 %``."""
    return "unloaded" if part is None else f"at {part:.0%}".replace("%", " %")


def _matrix(phase: PhaseDoc) -> list[tuple[int, list[_Cell]]]:
    """Rows of the heat map, source port and cells."""
    matrix = phase.matrix
    most = max((count or 0 for row in matrix.received for count in row), default=0) or 1
    rows = zip(matrix.ports, matrix.received, matrix.lost, strict=True)
    return [(port, [_cell(*cell, most) for cell in zip(received, lost, strict=True)]) for port, received, lost in rows]


def _cell(received: int | None, lost: int | None, most: int) -> _Cell:
    if received is None:
        return _Cell("", "none", 0)
    shade = round(_SHADES * received / most)
    return _Cell(f"{received:,} ({lost:,} lost)", "bad", shade) if lost else _Cell(f"{received:,}", "good", shade)


def _shares(phase: PhaseDoc) -> list[tuple[str, int, float, dict[str, float]]]:
    """For each pair of servers: packets, the direct share and each intermediate's, from 0 to 1."""
    pairs: dict[tuple[str, str], dict[str | None, int]] = {}
    for path in phase.spread:
        taken = pairs.setdefault((path.source, path.destination), {})
        taken[path.via] = taken.get(path.via, 0) + path.packets
    return [
        (f"{one} to {other}", total, taken.get(None, 0) / total, {via: n / total for via, n in taken.items() if via})
        for (one, other), taken in pairs.items()
        if (total := sum(taken.values()))
    ]


def _loads(phase: PhaseDoc) -> Mapping[str, Any]:
    """Packets a second by server and core; the busiest over the mean."""
    cores = dict(_cores(phase))
    rates = {name: packets / phase.seconds / 1e6 for name, packets in cores.items()} if phase.seconds else {}
    chart = bars(rates, "packets a second by server and core", "Mpps") if rates else ""
    busiest = max(rates.values()) / mean(rates.values()) if any(rates.values()) else None
    return {
        "chart": chart,
        "busiest": busiest,
        "wrong": [p for p in phase.queues for q in p.queues if not q.as_planned],
    }


def _cores(phase: PhaseDoc) -> Iterator[tuple[str, int]]:
    found: dict[str, int] = {}
    for port in phase.queues:
        for core, packets in port.cores.items():
            name = f"{port.server} core {core}"
            found[name] = found.get(name, 0) + packets
    yield from sorted(found.items())
