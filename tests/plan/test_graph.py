"""Graphs escape what the user wrote."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from rbops.planner import plan_spec
from rbops.render.graph import Edge, Graph, Node, cluster_graph, write
from rbops.spec.model import Router, Servers, Spec

NASTY = 'a"b<c>&\\ ]'


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_user_text_is_escaped(form: str) -> None:
    drawn = write(Graph(NASTY, (Node("x", NASTY, "port"), Node("y", "y", "port")), (Edge("x", "y", NASTY),)), form)
    assert NASTY not in drawn
    if form == "svg":
        assert NASTY in "".join(ET.fromstring(drawn).itertext())


def test_a_fly_is_drawn_in_columns() -> None:
    graph = cluster_graph(plan_spec(Spec("fly", Router(64, 10**10), Servers("current"))))
    assert not graph.round
    assert sorted({node.column for node in graph.nodes}) == [0, 1, 2]


def test_parallel_cables_are_one_edge() -> None:
    graph = cluster_graph(plan_spec(Spec("mesh", Router(16, 10**10), Servers("current"))))
    assert len(graph.edges) == 16 * 15 / 2
    assert graph.edges[0].label == "2 x 1G"
