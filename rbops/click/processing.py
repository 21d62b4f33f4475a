"""Push and pull: every port gets one, and what cannot be is said (Click paper, section 2.2).

Ports that take either get the kind of the port they are connected to, through elements too; what is left is push.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

from rbops.click.codes import counts, processing
from rbops.click.elements import Driver, Table
from rbops.click.graph import Graph, Port
from rbops.click.tree import Tree
from rbops.errors import Diagnostic

__all__ = ["Processing", "check_ports", "check_processing", "check_reuse", "class_names", "unknown_classes"]

_MOST_GUESSES = 10
_KIND = {"h": "push", "l": "pull"}
_BETWEEN = {"h": "put a Queue between them", "l": "put an Unqueue between them"}


@dataclass(frozen=True, slots=True)
class Processing:
    """``inputs[e]`` and ``outputs[e]``: a letter for each port of element e, ``h`` push or ``l`` pull."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def unknown_classes(
    tree: Tree, table: Table, driver: Driver, placed: Collection[str], *, unplaced: bool = False
) -> Iterator[Diagnostic]:
    """Classes that this Click, or the driver, does not have, each where it is first named.

    Only those of elements that are ``placed``; with ``unplaced`` only the others, in unused compound elements.
    """
    names = {element.name for element in tree.root.elements if "@" not in element.name}
    guesses = _MOST_GUESSES
    for used in tree.used:
        if table.get(used.name, driver) is not None or (used.name in placed) == unplaced:
            continue
        others = table.drivers(used.name)
        if others:
            where = {"userlevel": "at user level", "linuxmodule": "in the Linux kernel"}
            message = f"element class {used.name} exists only {where[others[0]]}"
            hint = "check it with --linuxmodule" if driver == "userlevel" else "check it without --linuxmodule"
        else:
            guesses -= 1
            words = sorted({*table.classes[driver], *(names if used.guessed else ())}) if guesses >= 0 else ()
            near = get_close_matches(used.name, words, 1)
            hint = f"did you mean {near[0]}?" if near else ""
            message = f"unknown element class {used.name}: {table.origin} does not have it"
            if used.guessed:
                message = f"'{used.name}' is neither a declared element nor an element class of {table.origin}"
        yield used.span.diagnostic(message, hint or None, code="click.unknown-class")


def class_names(tree: Tree, table: Table, driver: Driver) -> Iterator[Diagnostic]:
    """Elements that are called like a class: Click would take the name for the class."""
    for name, span in tree.clashes:
        known = table.get(name, driver)
        if known is not None and not known.fastclick:
            yield span.diagnostic(f"'{name}' is an element class and cannot name an element", code="click.class-name")


def check_ports(graph: Graph, processing: Processing) -> Iterator[Diagnostic]:
    """Too few or too many ports, and ports in between that are not connected."""
    router = graph.router
    for index, (element, known) in enumerate(zip(router.elements, graph.classes, strict=True)):
        inputs, outputs = router.inputs[index], router.outputs[index]
        allowed = counts(known.ports, inputs) if known else None
        if allowed is not None:
            for what, used, limits in (("input", inputs, allowed[0]), ("output", outputs, allowed[1])):
                used_at = graph.entering if what == "input" else graph.leaving
                if limits.most is not None and used > limits.most:
                    extra = chain.from_iterable(used_at.get((index, port), ()) for port in range(limits.most, used))
                    span = next((connection.span for connection in extra), element.span)
                    message = (
                        f"'{element.name}' has no {what} {used - 1}: {element.kind} has {_ports(str(limits), what)}"
                    )
                    yield span.diagnostic(message, code="click.ports")
                elif used < limits.least:
                    message = f"'{element.name}' has {_ports(str(used), what)}, and {element.kind} needs {limits}"
                    yield element.span.diagnostic(message, code="click.ports")
        yield from _gaps(graph, processing, index)


def _ports(number: str, what: str) -> str:
    shown = "no" if number == "0" else number
    return f"{shown} {what}{'' if number.endswith(' 1') or number == '1' else 's'}"


def _gaps(graph: Graph, processing: Processing, index: int) -> Iterator[Diagnostic]:
    element = graph.router.elements[index]
    for what, letters, used_at in (
        ("input", processing.inputs[index], graph.entering),
        ("output", processing.outputs[index], graph.leaving),
    ):
        for port, letter in enumerate(letters):
            if (index, port) not in used_at:
                message = f"{_KIND[letter]} {what} {port} of '{element.name}' is not connected"
                yield element.span.diagnostic(message, code="click.not-connected")


def check_reuse(graph: Graph, processing: Processing) -> Iterator[Diagnostic]:
    """A push output leads to one input, a pull input comes from one output."""
    for at, letters, letter, what, hint in (
        (graph.leaving, processing.outputs, "h", "push output", "a Tee copies packets, a Switch chooses"),
        (graph.entering, processing.inputs, "l", "pull input", "a RoundRobinSched or PrioSched takes from several"),
    ):
        for (index, port), connections in at.items():
            if letters[index][port] != letter:
                continue
            for connection in connections[1:]:
                message = f"{what} {port} of {graph.name(index)} is connected twice, first at {connections[0].span}"
                yield connection.span.diagnostic(message, hint, code="click.connected-twice")


def check_processing(graph: Graph) -> tuple[Processing, list[Diagnostic]]:
    """The kind of every port, and where push meets pull."""
    return _Spread(graph).run()


class _Spread:
    """Kinds spread from ports that have one to ports that take either."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        router = graph.router
        self._inputs: list[list[str]] = []
        self._outputs: list[list[str]] = []
        for index, known in enumerate(graph.classes):
            letters = processing(known.processing if known else "a/a", router.inputs[index], router.outputs[index])
            self._inputs.append(list(letters[0]))
            self._outputs.append(list(letters[1]))
        self._free_in = [[letter == "a" for letter in letters] for letters in self._inputs]
        self._free_out = [[letter == "a" for letter in letters] for letters in self._outputs]
        self._waiting: deque[tuple[str, Port]] = deque()
        self._errors: list[Diagnostic] = []
        self._said: set[object] = set()
        self._backward: dict[int, dict[int, list[int]]] = {}

    def run(self) -> tuple[Processing, list[Diagnostic]]:
        for index, letters in enumerate(self._inputs):
            self._waiting += (("in", (index, port)) for port, letter in enumerate(letters) if letter != "a")
        for index, letters in enumerate(self._outputs):
            self._waiting += (("out", (index, port)) for port, letter in enumerate(letters) if letter != "a")
        while self._waiting:
            side, port = self._waiting.popleft()
            if side == "in":
                self._from_input(*port)
            else:
                self._from_output(*port)
        inputs = tuple("".join(letters).replace("a", "h") for letters in self._inputs)
        outputs = tuple("".join(letters).replace("a", "h") for letters in self._outputs)
        return Processing(inputs, outputs), self._errors

    def _from_input(self, index: int, port: int) -> None:
        letter = self._inputs[index][port]
        for connection in self._graph.entering.get((index, port), ()):
            there = self._outputs[connection.source]
            if there[connection.output] == "a":
                there[connection.output] = letter
                self._waiting.append(("out", (connection.source, connection.output)))
            elif there[connection.output] != letter:
                self._conflict(connection.source, connection.output, index, port)
        if self._free_in[index][port]:
            for output in self._graph.through[index][port]:
                if not self._free_out[index][output]:
                    continue
                if self._outputs[index][output] == "a":
                    self._outputs[index][output] = letter
                    self._waiting.append(("out", (index, output)))
                elif self._outputs[index][output] != letter:
                    self._mixed(index, port, output)

    def _from_output(self, index: int, port: int) -> None:
        letter = self._outputs[index][port]
        for connection in self._graph.leaving.get((index, port), ()):
            there = self._inputs[connection.target]
            if there[connection.input] == "a":
                there[connection.input] = letter
                self._waiting.append(("in", (connection.target, connection.input)))
            elif there[connection.input] != letter:
                self._conflict(index, port, connection.target, connection.input)
        if self._free_out[index][port]:
            for entry in self._entries(index, port):
                if not self._free_in[index][entry]:
                    continue
                if self._inputs[index][entry] == "a":
                    self._inputs[index][entry] = letter
                    self._waiting.append(("in", (index, entry)))
                elif self._inputs[index][entry] != letter:
                    self._mixed(index, entry, port)

    def _entries(self, index: int, output: int) -> list[int]:
        """The inputs whose packets may leave at ``output``."""
        if index not in self._backward:
            found: dict[int, list[int]] = {}
            for entry, leaves in enumerate(self._graph.through[index]):
                for leave in leaves:
                    found.setdefault(leave, []).append(entry)
            self._backward[index] = found
        return self._backward[index].get(output, [])

    def _conflict(self, source: int, output: int, target: int, entry: int) -> None:
        key = (source, output, target, entry)
        if key in self._said:
            return
        self._said.add(key)
        connection = next(c for c in self._graph.leaving[source, output] if (c.target, c.input) == (target, entry))
        sent, taken = self._outputs[source][output], self._inputs[target][entry]
        message = (
            f"{_KIND[sent]} output {output} of {self._graph.name(source)} is connected to "
            f"{_KIND[taken]} input {entry} of {self._graph.name(target)}"
        )
        self._errors.append(connection.span.diagnostic(message, _BETWEEN[sent], code="click.push-pull"))

    def _mixed(self, index: int, entry: int, output: int) -> None:
        if index in self._said:
            return
        self._said.add(index)
        element = self._graph.router.elements[index]
        came, left = self._inputs[index][entry], self._outputs[index][output]
        message = (
            f"'{element.name}' takes push or pull, not both: packets are {_KIND[came]}ed into input {entry} "
            f"and {_KIND[left]}ed out of output {output}"
        )
        hint = f"{_BETWEEN[came]}, before or after it".replace(" between them", "")
        self._errors.append(element.span.diagnostic(message, hint, code="click.push-pull"))
