"""A tree made flat: compound elements replaced by what is in them, tunnels by connections.

An element ``q`` in a compound element ``a`` becomes ``a/q``. Variables are replaced by their values in the
scope where the compound class was declared, as Click does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rbops.click.config import Environment, TooLong, argvec, assign, expand
from rbops.click.source import Span
from rbops.click.tree import Base, ClassRef, Compound, Connection, Element, Requirement, Tree, ports
from rbops.errors import Diagnostic

__all__ = ["FlatConnection", "FlatElement", "FlatRouter", "flatten"]

_MOST_ELEMENTS = 200_000
_DEEPEST = 500
_MOST_CONNECTIONS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class FlatElement:
    """An element of a C++ class. ``span`` is where it is declared; ``placed``, outermost first, are the
    declarations of the compound elements it came in with.
    """

    name: str
    kind: str
    configuration: str
    span: Span
    placed: tuple[Span, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Its configuration, split at commas."""
        return argvec(self.configuration)


@dataclass(frozen=True, slots=True)
class FlatConnection:
    """Elements are indexes into the router's; ``span`` is the arrow that reaches the target."""

    source: int
    output: int
    target: int
    input: int
    span: Span


@dataclass(frozen=True, slots=True)
class FlatRouter:
    """What runs. ``inputs`` and ``outputs``: used port counts, by element."""

    elements: tuple[FlatElement, ...]
    connections: tuple[FlatConnection, ...]
    requirements: tuple[Requirement, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def flatten(tree: Tree, defines: dict[str, str] | None = None) -> tuple[FlatRouter, tuple[Diagnostic, ...]]:
    """The flat router, as far as it can be made, and what is wrong; ``defines`` come from a command line."""
    return _Flattener().router(tree, defines or {})


_End = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Work:
    """A compound element to be put in its place, whose ends are already there."""

    body: Compound
    prefix: str
    scope: Environment
    ends: tuple[int, int]
    placed: tuple[Span, ...]


@dataclass(slots=True)
class _Flattener:
    elements: list[FlatElement] = field(default_factory=list)
    connections: list[FlatConnection] = field(default_factory=list)
    errors: list[Diagnostic] = field(default_factory=list)
    named: dict[str, Span] = field(default_factory=dict)
    through: dict[int, int] = field(default_factory=dict)
    """A tunnel's entry -> its exit: packets that go into one come out at the other."""
    labels: dict[int, tuple[str, str]] = field(default_factory=dict)
    """A tunnel's entry -> its element's name, and ``input`` or ``output``."""
    full: bool = False

    def router(self, tree: Tree, defines: dict[str, str]) -> tuple[FlatRouter, tuple[Diagnostic, ...]]:
        scope = Environment(None, dict(tree.root.defines) | defines)
        waiting = [_Work(tree.root, "", scope, (-1, -1), ())]
        while waiting and not self.full:
            waiting += reversed(list(self._place(waiting.pop())))
        self._check_tunnels()
        connections = self._without_tunnels()
        kept = [i for i, element in enumerate(self.elements) if element.kind]
        index = {old: new for new, old in enumerate(kept)}
        inputs, outputs = [0] * len(kept), [0] * len(kept)
        final = []
        for c in connections:
            source, target = index[c.source], index[c.target]
            outputs[source] = max(outputs[source], c.output + 1)
            inputs[target] = max(inputs[target], c.input + 1)
            final.append(FlatConnection(source, c.output, target, c.input, c.span))
        elements = tuple(self.elements[i] for i in kept)
        return FlatRouter(elements, tuple(final), tree.requirements, tuple(inputs), tuple(outputs)), tuple(self.errors)

    def _add(self, element: FlatElement) -> int:
        self.elements.append(element)
        if len(self.elements) > _MOST_ELEMENTS and not self.full:
            self.full = True
            self.errors.append(
                element.span.diagnostic(
                    f"the configuration has more than {_MOST_ELEMENTS:,} elements", code="click.limit"
                )
            )
        return len(self.elements) - 1

    def _place(self, work: _Work) -> Iterator[_Work]:
        """Add the elements and connections of a scope; the compound elements in it are still to do."""
        body, places = work.body, {}
        used_in, used_out = _used(body)
        if body.depth:
            places = {0: work.ends[0], 1: work.ends[1]}
        for index in body.groups:
            self._group(body, index, places)
        for index, element in enumerate(body.elements):
            if index in places or self.full:
                continue
            name = work.prefix + element.name
            configuration = self._expand(element, work.scope)
            kind: ClassRef | None = element.kind
            arguments: list[str] = []
            if isinstance(kind, Compound):
                arguments = argvec(configuration)
                kind, arguments = self._resolve(kind, arguments, used_in[index], used_out[index], element)
            if name in self.named:
                hint = f"it is declared at {self.named[name]}"
                self.errors.append(
                    element.span.diagnostic(f"element '{name}' is declared twice", hint, code="click.duplicate")
                )
            self.named[name] = element.span
            if isinstance(kind, Compound) and len(work.placed) >= _DEEPEST:
                self.full = True
                message = f"compound elements are nested more than {_DEEPEST} deep"
                self.errors.append(element.span.diagnostic(message, code="click.limit"))
            elif isinstance(kind, Compound):
                places[index], ends = self._tunnels(name, element.span)
                scope = _inner(kind, arguments, work.scope)
                yield _Work(kind, f"{name}/", scope, ends, (*work.placed, element.span))
            else:
                base = kind.name if isinstance(kind, Base) else "Error"
                flat = FlatElement(name, base, configuration, element.span, work.placed)
                places[index] = self._add(flat)
        self._connect(body.connections, places)

    def _connect(self, connections: tuple[Connection, ...], places: dict[int, int]) -> None:
        if self.full:
            return
        self.connections += (
            FlatConnection(places[c.source], c.output, places[c.target], c.input, c.span) for c in connections
        )
        if len(self.connections) > _MOST_CONNECTIONS:
            self.full = True
            message = f"the configuration has more than {_MOST_CONNECTIONS:,} connections"
            self.errors.append(connections[0].span.diagnostic(message, code="click.limit"))

    def _tunnels(self, name: str, span: Span) -> tuple[int, tuple[int, int]]:
        """The ends of a compound element: outside, and its ``input`` and ``output`` inside."""
        outside, entry, leave = (self._add(FlatElement(name, "", "", span)) for _ in range(3))
        self.through[outside], self.through[leave] = entry, outside
        self.labels[outside], self.labels[leave] = (name, "input"), (name, "output")
        return outside, (entry, leave)

    def _group(self, body: Compound, index: int, places: dict[int, int]) -> None:
        outside, ends = self._tunnels("this group", body.elements[index].span)
        places[index], places[index + 1], places[index + 2] = outside, *ends

    def _expand(self, element: Element, scope: Environment) -> str:
        try:
            return expand(element.configuration, scope)
        except TooLong:
            message = f"the configuration of '{element.name}' grows beyond 1 MiB when its variables are replaced"
            self.errors.append(element.span.diagnostic(message, code="click.limit"))
            return ""

    def _resolve(
        self, kind: Compound, arguments: list[str], inputs: int, outputs: int, element: Element
    ) -> tuple[ClassRef | None, list[str]]:
        """The body that takes these arguments and ports, with the values of its parameters."""
        nearest: tuple[Compound, list[str]] | None = None
        bodies = []
        body: ClassRef | None = kind
        seen: set[int] = set()
        while isinstance(body, Compound) and id(body) not in seen:
            seen.add(id(body))
            bodies.append(body)
            values = assign(arguments, body.formals)
            if values is not None:
                if (body.inputs, body.outputs) == (inputs, outputs):
                    return body, values
                nearest = (body, values)
            body = body.overload
        if isinstance(body, Base):
            return body, arguments
        if nearest is None or len(bodies) > 1:
            given = f"{len(arguments)} argument{'s' * (len(arguments) != 1)}, {ports(inputs, outputs)}"
            wanted = "; or ".join(body.signature() for body in bodies[:5])
            message = f"'{element.name}': {kind.name or 'the compound element'} does not take {given}"
            self.errors.append(element.span.diagnostic(message, f"it is {wanted}", code="click.arguments"))
        return nearest or (None, [])

    # tunnels

    def _check_tunnels(self) -> None:
        """Every port of a compound element that is used outside must exist inside, and vice versa."""
        if self.full:
            return
        into: dict[int, set[int]] = {}
        out: dict[int, set[int]] = {}
        for c in self.connections:
            out.setdefault(c.source, set()).add(c.output)
            into.setdefault(c.target, set()).add(c.input)
        for entry, leave in self.through.items():
            name, what = self.labels[entry]
            label = name if name == "this group" else f"'{name}'"
            given, taken = into.get(entry, set()), out.get(leave, set())
            absent, unused = (given - taken, taken - given) if what == "input" else (taken - given, given - taken)
            span = self.elements[entry].span
            for port in sorted(absent)[:5]:
                self.errors.append(span.diagnostic(f"{label} has no {what} {port}", code="click.ports"))
            for port in sorted(unused)[:5]:
                self.errors.append(
                    span.diagnostic(f"{what} {port} of {label} is not connected", code="click.not-connected")
                )

    def _without_tunnels(self) -> list[FlatConnection]:
        """Connections from element to element, each once."""
        if self.full:
            return []
        leaving: dict[_End, list[FlatConnection]] = {}
        for c in self.connections:
            if not self.elements[c.source].kind:
                leaving.setdefault((c.source, c.output), []).append(c)
        found: dict[tuple[int, int, int, int], FlatConnection] = {}
        reached: dict[_End, list[FlatConnection]] = {}
        for c in self.connections:
            if not self.elements[c.source].kind:
                continue
            if self.elements[c.target].kind:
                found.setdefault((c.source, c.output, c.target, c.input), c)
                continue
            start = (c.target, c.input)
            if start not in reached:
                reached[start] = self._reached(start, leaving)
            for last in reached[start]:
                key = (c.source, c.output, last.target, last.input)
                found.setdefault(key, FlatConnection(*key, last.span))
            if len(found) > _MOST_CONNECTIONS:
                message = f"the configuration has more than {_MOST_CONNECTIONS:,} connections"
                self.errors.append(c.span.diagnostic(message, code="click.limit"))
                break
        return list(found.values())

    def _reached(self, start: _End, leaving: dict[_End, list[FlatConnection]]) -> list[FlatConnection]:
        """The last arrows of all paths from a tunnel's entry to elements; paths in a circle end."""
        seen, waiting, found = {start}, [start], []
        while waiting:
            end, port = waiting.pop()
            for c in leaving.get((self.through.get(end, -1), port), []):
                if self.elements[c.target].kind:
                    found.append(c)
                elif (c.target, c.input) not in seen:
                    seen.add((c.target, c.input))
                    waiting.append((c.target, c.input))
        return found


def _used(body: Compound) -> tuple[list[int], list[int]]:
    inputs, outputs = [0] * len(body.elements), [0] * len(body.elements)
    for c in body.connections:
        outputs[c.source] = max(outputs[c.source], c.output + 1)
        inputs[c.target] = max(inputs[c.target], c.input + 1)
    return inputs, outputs


def _inner(body: Compound, arguments: list[str], around: Environment) -> Environment:
    """The variables inside a compound element: its parameters, then its own definitions."""
    scope = Environment(around.outside(body.depth))
    for formal, value in zip(body.formals, arguments, strict=False):
        scope.values[formal.name] = value
    for name, value in body.defines:
        try:
            scope.values[name] = expand(value, scope)
        except TooLong:
            scope.values[name] = ""
    return scope
