"""Graphs of the cluster and of one server, as dot, Mermaid or SVG.

User text (a plan's name) reaches the output only escaped for its format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from rbops.plan import ClusterPlan, Server

__all__ = ["Edge", "Graph", "Node", "cluster_graph", "server_graph", "write"]

_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW, _MARGIN = 110, 26, 240, 40, 80


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
    """Servers, their external ports, and the cables; parallel cables are one edge with their number."""
    stage = max(1, plan.topology.port_servers)
    nodes: list[Node] = []
    edges: list[Edge] = []
    for server in plan.servers:
        ports = "".join(f" ext{port}" for port in server.external_ports)
        nodes.append(
            Node(server.name, f"{server.name}{':' if ports else ''}{ports}", server.role, server.index // stage)
        )
    cables: dict[tuple[str, str], tuple[int, int]] = {}
    for link in plan.links:
        pair = (link.a.split(":")[0], link.b.split(":")[0])
        count, _ = cables.get(pair, (0, 0))
        cables[pair] = (count + 1, link.rate_bps)
    for (a, b), (count, rate) in cables.items():
        edges.append(Edge(a, b, f"{count} x {rate / 1e9:g}G" if count > 1 else f"{rate / 1e9:g}G"))
    return Graph(plan.name, tuple(nodes), tuple(edges), round=plan.topology.kind == "mesh")


def server_graph(server: Server) -> Graph:
    """Ports with their receive queues, the cores that own them, and the transmit queues they send to."""
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for port in server.ports:
        nodes[f"rx-{port.name}"] = Node(f"rx-{port.name}", f"{port.name} rx", port.kind, 0)
        for queue in port.queues:
            name = f"{port.name}-rx{queue.index}"
            nodes[name] = Node(name, f"{port.name} rx {queue.index}", "queue", 1)
            edges.append(Edge(f"rx-{port.name}", name))
            edges.append(Edge(name, f"cpu{queue.rx_core}"))
    for cpu in server.cores.dataplane:
        nodes[f"cpu{cpu}"] = Node(f"cpu{cpu}", f"CPU {cpu}", "core", 2)
    for cpu in server.cores.housekeeping:
        nodes[f"cpu{cpu}"] = Node(f"cpu{cpu}", f"CPU {cpu}, housekeeping", "housekeeping", 2)
    for port in server.ports:
        nodes[f"tx-{port.name}"] = Node(f"tx-{port.name}", f"{port.name} tx", port.kind, 4)
        for queue in port.queues:
            name = f"{port.name}-tx{queue.index}"
            nodes[name] = Node(name, f"{port.name} tx {queue.index}", "queue", 3)
            edges.append(Edge(f"cpu{queue.tx_core}", name))
            edges.append(Edge(name, f"tx-{port.name}"))
    return Graph(server.name, tuple(nodes.values()), tuple(edges))


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
    places = _circle(graph.nodes) if graph.round else _columns(graph.nodes)
    width = max(x for x, _ in places.values()) + _BOX_WIDTH / 2 + 20
    height = max(y for _, y in places.values()) + _BOX_HEIGHT / 2 + 20
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f"<title>{escape(graph.title)}</title>",
        '<g stroke="#888888">',
    ]
    for edge in graph.edges:
        (x1, y1), (x2, y2) = places[edge.a], places[edge.b]
        hint = f"<title>{escape(f'{edge.a} - {edge.b} {edge.label}')}</title>"
        lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}">{hint}</line>')
    lines.append("</g>")
    for node in graph.nodes:
        x, y = places[node.name]
        lines.append(
            f'<rect x="{x - _BOX_WIDTH / 2:.1f}" y="{y - _BOX_HEIGHT / 2:.1f}" '
            f'width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="4" '
            f'fill={quoteattr(_colour(node.kind))} stroke="#333333"/>'
        )
        lines.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{escape(node.label)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _circle(nodes: Sequence[Node]) -> dict[str, tuple[float, float]]:
    radius = max(120.0, len(nodes) * _BOX_WIDTH / 2.4 / math.pi)
    middle = radius + _MARGIN
    turn = 2 * math.pi / len(nodes)
    return {
        node.name: (middle + radius * math.sin(place * turn), middle - radius * math.cos(place * turn))
        for place, node in enumerate(nodes)
    }


def _columns(nodes: Sequence[Node]) -> dict[str, tuple[float, float]]:
    filled: dict[int, int] = {}
    places: dict[str, tuple[float, float]] = {}
    for node in nodes:
        row = filled.get(node.column, 0)
        filled[node.column] = row + 1
        places[node.name] = (_MARGIN + node.column * float(_COLUMN), _MARGIN / 2 + row * float(_ROW))
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
