"""Graphs of the cluster and of one server, as dot, Mermaid or SVG.

User text (a plan's name) reaches the output only escaped for its format.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from rbops.affinity.folding import CoreRow, core_rows, folded
from rbops.common.cpulist import list_text
from rbops.plan import ClusterPlan, Port, Server

__all__ = ["Edge", "Graph", "Node", "cluster_graph", "server_graph", "write"]

_BOX_HEIGHT, _GAP, _ROW, _MARGIN, _TITLE = 26, 130, 40, 20, 24
_NARROWEST, _CHARACTER = 80, 6.6
_LABELLED_EDGES = 15
_QUEUES_ONE_BY_ONE, _SERVERS_ONE_BY_ONE = 64, 16
_LONGEST_RUN, _COLUMN = 30, 2


@dataclass(frozen=True, slots=True)
class Node:
    """``column`` orders the drawing from left to right; ``kind`` colours it."""

    name: str
    label: str
    kind: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two nodes."""

    a: str
    b: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """``round`` lays the nodes out on a circle instead of in columns."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    round: bool = False


def cluster_graph(plan: ClusterPlan) -> Graph:
    """Servers, their external ports, and the cables; parallel cables are one edge with their number.

    With more than 16 servers, alike ones of a column are one box, and the cables between two boxes one line.
    """
    if len(plan.servers) > _SERVERS_ONE_BY_ONE:
        return _folded_cluster(plan)
    stage = max(1, plan.topology.port_servers)
    nodes: list[Node] = []
    edges: list[Edge] = []
    for server in plan.servers:
        ports = _ports(server.external_ports)
        label = f"{server.name}: {ports}" if ports else server.name
        nodes.append(Node(server.name, label, server.role, server.index // stage))
    cables: dict[tuple[str, str], tuple[int, int]] = {}
    for link in plan.links:
        pair = (link.a.split(":")[0], link.b.split(":")[0])
        count, _ = cables.get(pair, (0, 0))
        cables[pair] = (count + 1, link.rate_bps)
    for (a, b), (count, rate) in cables.items():
        edges.append(Edge(a, b, f"{count} x {rate / 1e9:g}G" if count > 1 else f"{rate / 1e9:g}G"))
    return Graph(plan.name, tuple(nodes), tuple(edges), round=plan.topology.kind == "mesh")


def _folded_cluster(plan: ClusterPlan) -> Graph:
    stage = max(1, plan.topology.port_servers)
    groups: dict[tuple[int, str, int, int], list[Server]] = {}
    for server in plan.servers:
        key = (server.index // stage, server.role, len(server.external_ports), len(server.ports))
        groups.setdefault(key, []).append(server)
    names, nodes = {}, []
    inside: Counter[str] = Counter()
    cables: Counter[tuple[str, str, int]] = Counter()
    for (_, role, external, ports), servers in groups.items():
        name = _run(servers)
        names.update({server.name: name for server in servers})
        text = f", {external} external and {ports - external} internal ports each" if external else ""
        nodes.append((name, f"{name}: {len(servers)} {role} server{'s' if len(servers) > 1 else ''}{text}", role))
    for link in plan.links:
        a, b = (names[end.split(":")[0]] for end in (link.a, link.b))
        if a == b:
            inside[a] += 1
        else:
            cables[min(a, b), max(a, b), link.rate_bps] += 1
    columns = {_run(servers): key[0] for key, servers in groups.items()}
    boxes = tuple(
        Node(name, f"{label}, {inside[name]} cables among them" if inside[name] else label, role, columns[name])
        for name, label, role in nodes
    )
    edges = tuple(Edge(a, b, f"{count} x {rate / 1e9:g}G") for (a, b, rate), count in cables.items())
    return Graph(plan.name, boxes, edges, round=plan.topology.kind == "mesh" and len(boxes) > _COLUMN)


def _run(servers: Sequence[Server]) -> str:
    """``n0-7,9``; of many runs the first and the last."""
    listed = list_text([server.index for server in servers])
    return f"n{listed}" if len(listed) <= _LONGEST_RUN else f"n{servers[0].index}...{servers[-1].index}"


def _ports(ids: Sequence[int]) -> str:
    """``ext0``, or ``ext0-ext3`` where they follow each other."""
    if len(ids) > 1 and ids[-1] - ids[0] == len(ids) - 1:
        return f"ext{ids[0]}-ext{ids[-1]}"
    return " ".join(f"ext{port}" for port in ids)


def server_graph(server: Server) -> Graph:
    """Ports with their receive queues, the cores that own them, and the transmit queues they send to.

    With more than 64 queues, ports with the same queues are one box, and so are cores in a row that own one queue each.
    """
    many = sum(len(port.queues) for port in server.ports) > _QUEUES_ONE_BY_ONE
    groups: dict[object, list[Port]] = {}
    for port in server.ports:
        groups.setdefault(port.queues if many else port.name, []).append(port)
    drawing = _Drawing()
    for ports in groups.values():
        rows = core_rows(server.cores.dataplane, ports[0].queues)
        _draw(drawing, ports, folded(rows) if many else rows, many=many)
    for cpus in [server.cores.housekeeping] if many else [(cpu,) for cpu in server.cores.housekeeping]:
        drawing.box(f"CPU {list_text(cpus)}, housekeeping", "housekeeping", 2)
    return Graph(server.name, tuple(drawing.nodes.values()), tuple(drawing.edges))


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Boxes by their text, and the lines between them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def box(self, name: str, kind: str, column: int, label: str = "") -> str:
        """Add a box unless it is there; its name, which is its label unless there is another."""
        self.nodes.setdefault(name, Node(name, label or name, kind, column))
        return name

    def line(self, *names: str) -> None:
        """Join boxes in a row."""
        self.edges.extend(Edge(a, b) for a, b in pairwise(names))


def _draw(drawing: _Drawing, ports: Sequence[Port], rows: Iterable[CoreRow], *, many: bool) -> None:
    """Ports that have the same queues: ``rows`` say which cores own those."""
    name, kind = _together([port.name for port in ports]), ports[0].kind
    source, sink = drawing.box(f"{name} rx", kind, 0), drawing.box(f"{name} tx", kind, 4)
    for row in rows:
        cpu = drawing.box(f"CPU {list_text(row.cpus)}", "core", 2)
        for queues in _boxes(row.rx, many=many):
            drawing.line(source, drawing.box(f"{name} rx {queues}", "queue", 1, f"rx {queues}" if many else ""), cpu)
        for queues in _boxes(row.tx, many=many):
            drawing.line(cpu, drawing.box(f"{name} tx {queues}", "queue", 3, f"tx {queues}" if many else ""), sink)


def _together(names: Sequence[str]) -> str:
    """``ext2-3 int0,2-7``; ports of parallel cables by name."""
    numbers: dict[str, list[int]] = {}
    others = []
    for name in names:
        stem, number = name[:3], name[3:]
        if number.isdecimal():
            numbers.setdefault(stem, []).append(int(number))
        else:
            others.append(name)
    return " ".join([*(stem + list_text(found) for stem, found in numbers.items()), *others])


def _boxes(queues: Sequence[int], *, many: bool) -> list[str]:
    if many:
        return [list_text(queues)] if queues else []
    return [str(queue) for queue in queues]


def write(graph: Graph, form: str) -> str:
    """``graph`` as ``dot``, ``mermaid`` or ``svg``; KeyError for another form."""
    return {"dot": _dot, "mermaid": _mermaid, "svg": _svg}[form](graph)


def _dot(graph: Graph) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'

    lines = [
        f"graph {quoted(graph.title)} {{",
        "  node [shape=box];" if graph.round else "  rankdir=LR; node [shape=box];",
    ]
    lines += [
        f"  {quoted(node.name)} [label={quoted(node.label)}, style=filled, fillcolor={quoted(_colour(node.kind))}];"
        for node in graph.nodes
    ]
    lines += [
        f"  {quoted(edge.a)} -- {quoted(edge.b)}" + (f" [label={quoted(edge.label)}];" if edge.label else ";")
        for edge in graph.edges
    ]
    return "\n".join([*lines, "}", ""])


def _mermaid(graph: Graph) -> str:
    ids = {node.name: f"v{number}" for number, node in enumerate(graph.nodes)}

    def quoted(text: str) -> str:
        return '"' + "".join(char if char.isalnum() or char in " .:,-_" else f"#{ord(char)};" for char in text) + '"'

    lines = [f"---\ntitle: {quoted(graph.title)}\n---", "graph LR"]
    lines += [f"  {ids[node.name]}[{quoted(node.label)}]" for node in graph.nodes]
    lines += [
        f"  {ids[edge.a]} ---{f'|{quoted(edge.label)}|' if edge.label else ''} {ids[edge.b]}" for edge in graph.edges
    ]
    return "\n".join([*lines, ""])


def _svg(graph: Graph) -> str:
    wide = max(_NARROWEST, *(_CHARACTER * len(node.label) + 16 for node in graph.nodes))
    places = _circle(graph.nodes, wide) if graph.round else _columns(graph.nodes, wide)
    width = max(x for x, _ in places.values()) + wide / 2 + _MARGIN
    height = max(y for _, y in places.values()) + _BOX_HEIGHT / 2 + _MARGIN
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f"<title>{escape(graph.title)}</title>",
        f'<text x="{_MARGIN}" y="{_TITLE}" font-size="14" font-weight="bold">{escape(graph.title)}</text>',
        '<g stroke="#888888">',
        *(_line(edge, places, 0 if graph.round else wide / 2) for edge in graph.edges),
        "</g>",
    ]
    if graph.round and len(graph.edges) <= _LABELLED_EDGES:
        lines += [_edge_label(edge, places) for edge in graph.edges if edge.label]
    for node in graph.nodes:
        x, y = places[node.name]
        lines.append(
            f'<rect x="{x - wide / 2:.1f}" y="{y - _BOX_HEIGHT / 2:.1f}" '
            f'width="{wide:.1f}" height="{_BOX_HEIGHT}" rx="4" '
            f'fill={quoteattr(_colour(node.kind))} stroke="#333333"/>'
        )
        lines.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{escape(node.label)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _line(edge: Edge, places: Mapping[str, tuple[float, float]], half: float) -> str:
    """A line between two boxes: ``half`` a box from their middles, towards each other, or from the middles."""
    (x1, y1), (x2, y2) = places[edge.a], places[edge.b]
    half = math.copysign(half, x2 - x1)
    hint = f"<title>{escape(f'{edge.a} - {edge.b} {edge.label}')}</title>"
    return f'<line x1="{x1 + half:.1f}" y1="{y1:.1f}" x2="{x2 - half:.1f}" y2="{y2:.1f}">{hint}</line>'


def _edge_label(edge: Edge, places: Mapping[str, tuple[float, float]]) -> str:
    """The label at a third of the line, so that those of crossing lines stay apart; white around it."""
    (x1, y1), (x2, y2) = places[edge.a], places[edge.b]
    x, y = x1 + (x2 - x1) * 0.36, y1 + (y2 - y1) * 0.36
    return (
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="#555555" stroke="#ffffff" '
        f'stroke-width="4" paint-order="stroke">{escape(edge.label)}</text>'
    )


def _circle(nodes: Sequence[Node], wide: float) -> dict[str, tuple[float, float]]:
    turn = 2 * math.pi / len(nodes)
    # Far enough out that neighbours stay apart where they are side by side.
    radius = max(130.0, (wide + 8) / 2 / math.sin(max(turn, 0.01) / 2)) if len(nodes) > 1 else 0.0
    top = _TITLE + _MARGIN + _BOX_HEIGHT / 2 + radius
    left = _MARGIN + wide / 2 + radius
    return {
        node.name: (left + radius * math.sin(place * turn), top - radius * math.cos(place * turn))
        for place, node in enumerate(nodes)
    }


def _columns(nodes: Sequence[Node], wide: float) -> dict[str, tuple[float, float]]:
    """Columns from left to right, each in the middle of the picture's height."""
    heights = Counter(node.column for node in nodes)
    tallest = max(heights.values())
    filled: Counter[int] = Counter()
    places: dict[str, tuple[float, float]] = {}
    for node in nodes:
        row = filled[node.column] + (tallest - heights[node.column]) / 2
        filled[node.column] += 1
        places[node.name] = (
            _MARGIN + wide / 2 + node.column * (wide + _GAP),
            _TITLE + _MARGIN + _BOX_HEIGHT / 2 + row * _ROW,
        )
    return places


def _colour(kind: str) -> str:
    colours = {
        "port": "#cfe8ff",
        "intermediate": "#eeeeee",
        "external": "#ffe0b3",
        "internal": "#cfe8ff",
        "core": "#d5f0d0",
    }
    return colours.get(kind, "#ffffff")
