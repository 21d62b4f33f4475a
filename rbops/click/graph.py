"""A flat router's ports and the ways between them: along connections, and through elements by their flow codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rbops.click.codes import flows
from rbops.click.config import argvec, words
from rbops.click.elements import Driver, ElementClass, Table
from rbops.click.flatten import FlatConnection, FlatRouter

__all__ = ["Graph", "Port"]

Port = tuple[int, int]
"""An element's index and a port's number."""


@dataclass(slots=True)
class Graph:
    """``classes``: what is known of each element, None when nothing is.

    ``leaving`` and ``entering`` are the connections at output and input ports; ``through[e][i]`` the outputs that
    packets of input i of element e may leave at.
    """

    router: FlatRouter
    classes: list[ElementClass | None]
    leaving: dict[Port, list[FlatConnection]] = field(default_factory=dict)
    entering: dict[Port, list[FlatConnection]] = field(default_factory=dict)
    through: list[Sequence[Sequence[int]]] = field(default_factory=list)

    @classmethod
    def of(cls, router: FlatRouter, table: Table, driver: Driver) -> Graph:
        """The graph of ``router`` with the classes that ``driver`` has."""
        graph = cls(router, [table.get(element.kind, driver) for element in router.elements])
        for connection in router.connections:
            graph.leaving.setdefault((connection.source, connection.output), []).append(connection)
            graph.entering.setdefault((connection.target, connection.input), []).append(connection)
        said = _flow_info(router)
        for index, known in enumerate(graph.classes):
            inputs, outputs = router.inputs[index], router.outputs[index]
            code = said.get(router.elements[index].name, known.flow if known else None)
            graph.through.append([()] * inputs if code is None else flows(code, inputs, outputs))
        return graph

    def name(self, element: int) -> str:
        """An element's name, for messages."""
        return f"'{self.router.elements[element].name}'"


def _flow_info(router: FlatRouter) -> dict[str, str]:
    """Flow codes that ``FlowInfo(element code, ...)`` gives to elements."""
    said = {}
    for element in router.elements:
        if element.kind == "FlowInfo":
            for argument in argvec(element.configuration):
                name, code, *more = [*words(argument), "", ""]
                if name and code and not any(more):
                    said[name] = code
    return said
