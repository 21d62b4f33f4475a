"""Graphs escape what the user wrote."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rbops.common.cpulist import parse_list
from rbops.planner import load_plan, plan_spec
from rbops.render.graph import Edge, Graph, Node, cluster_graph, server_graph, write
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.router import Router

NASTY = 'a"b<c>&\\ ]'


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_user_text_is_escaped(form: str) -> None:
    drawn = write(Graph(NASTY, (Node("x", NASTY, "port"), Node("y", "y", "port")), (Edge("x", "y", NASTY),)), form)
    assert NASTY not in drawn
    if form == "svg":
        assert NASTY in "".join(ET.fromstring(drawn).itertext())


def boxes(drawn: str) -> list[tuple[float, float, float, float]]:
    found = []
    for box in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect"):
        x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


@pytest.mark.parametrize(("ports", "profile"), [(1, "lab"), (4, "lab"), (32, "current"), (64, "current")])
def test_boxes_are_apart_and_within_the_picture(ports: int, profile: str) -> None:
    plan = plan_spec(Spec("rb4", Router(ports, 10**10), Servers(profile)))
    for graph in (cluster_graph(plan), server_graph(plan.servers[0])):
        drawn = write(graph, "svg")
        right, bottom = (float(ET.fromstring(drawn).attrib[name]) for name in ("width", "height"))
        found = boxes(drawn)
        assert len(found) == len(graph.nodes)
        for place, (x1, y1, x2, y2) in enumerate(found):
            assert x1 >= 0
            assert y1 >= 0
            assert x2 <= right
            assert y2 <= bottom
            for u1, v1, u2, v2 in found[place + 1 :]:
                assert x2 <= u1 or u2 <= x1 or y2 <= v1 or v2 <= y1


def test_a_server_with_many_queues_fits_a_screen() -> None:
    """64 cores, 9 ports: a box for the ports, one for CPUs in a row, and every core and queue in one of them."""
    rack = load_plan(Path(__file__).parents[2] / "inventory" / "rack" / "router.yml")
    graph = server_graph(rack.servers[1])
    drawn = ET.fromstring(write(graph, "svg"))
    assert float(drawn.attrib["width"]) < 1400
    assert float(drawn.attrib["height"]) < 600
    cores = parse_list(",".join(node.label.removeprefix("CPU ") for node in graph.nodes if node.kind == "core"))
    assert cores == set(rack.servers[1].cores.dataplane)
    for way in ("rx", "tx"):
        labels = [node.label.split() for node in graph.nodes if node.kind == "queue"]
        shown = parse_list(",".join(queues for found, queues in labels if found == way))
        assert shown == {queue.index for queue in rack.servers[1].ports[0].queues}
    assert any(node.label == "CPU 0,32, housekeeping" for node in graph.nodes)


@pytest.mark.skipif(shutil.which("nop") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("graph", [Graph(NASTY, (Node("x", NASTY, "port"),), ()), None], ids=["nasty", "fly"])
def test_graphviz_reads_the_dot_form(graph: Graph | None) -> None:
    drawn = write(graph or cluster_graph(plan_spec(Spec("fly", Router(64, 10**10), Servers("current")))), "dot")
    # Graphviz's own parser without the layout, which takes `dot` long for a fly.
    done = subprocess.run(["nop", "-p"], input=drawn, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("ports", "profile"), [(32, "current"), (64, "current"), (256, "current"), (1024, "current")])
def test_a_large_cluster_fits_a_screen(ports: int, profile: str) -> None:
    """Alike servers are one box, and what it says adds up to the plan."""
    plan = plan_spec(Spec("big", Router(ports, 10**10), Servers(profile)))
    graph = cluster_graph(plan)
    drawn = ET.fromstring(write(graph, "svg"))
    assert len(graph.nodes) <= 40
    assert float(drawn.attrib["height"]) < 1200
    assert sum(int(re.findall(r": (\d+) ", node.label)[0]) for node in graph.nodes) == len(plan.servers)
    between = sum(int(edge.label.split(" x ")[0]) for edge in graph.edges)
    inside = sum(int(count) for node in graph.nodes for count in re.findall(r"(\d+) cables among", node.label))
    assert between + inside == len(plan.links)


def test_a_fly_is_drawn_in_columns() -> None:
    graph = cluster_graph(plan_spec(Spec("fly", Router(64, 10**10), Servers("current"))))
    assert not graph.round
    assert sorted({node.column for node in graph.nodes}) == [0, 1, 2]


def test_parallel_cables_are_one_edge() -> None:
    graph = cluster_graph(plan_spec(Spec("mesh", Router(16, 10**10), Servers("current"))))
    assert len(graph.edges) == 16 * 15 / 2
    assert graph.edges[0].label == "2 x 1G"
