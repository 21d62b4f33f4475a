"""A scope while it is being read: its elements, connections, variables and classes."""

from __future__ import annotations

from dataclasses import dataclass, field

from rbops.click.config import Formal
from rbops.click.source import Span
from rbops.click.tree import ClassRef, Compound, Connection, Element, Tunnel

__all__ = ["Scope"]

_SHOWN = 5


@dataclass(slots=True)
class Scope:
    """``classes`` are those visible here; ``named`` maps a name to its element's index.

    The pseudo-elements ``input`` and ``output`` are elements 0 and 1 of every scope but the file's.
    """

    name: str
    span: Span
    depth: int
    classes: dict[str, ClassRef]
    formals: list[Formal] = field(default_factory=list)
    defines: dict[str, str] = field(default_factory=dict)
    elements: list[Element] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    outputs_used: dict[int, set[int]] = field(default_factory=dict)
    inputs_used: dict[int, set[int]] = field(default_factory=dict)

    @classmethod
    def inside(cls, outer: Scope, name: str, span: Span) -> Scope:
        """The scope of a compound element declared in ``outer``."""
        scope = cls(name, span, outer.depth + 1, dict(outer.classes))
        scope.tunnel("input", span)
        scope.tunnel("output", span)
        return scope

    def add(self, element: Element) -> int:
        """Its index."""
        self.named[element.name] = len(self.elements)
        self.elements.append(element)
        return len(self.elements) - 1

    def tunnel(self, name: str, span: Span) -> int:
        """Add an end of a tunnel; its index."""
        return self.add(Element(name, Tunnel(), "", span))

    def anonymous(self, kind: str) -> str:
        """A name for an element that has none, until ``finished`` gives it a proper one."""
        first = 2 if self.depth else 0
        return f";{kind}@{len(self.elements) - first + 1}"

    def connect(self, connection: Connection) -> None:
        """Add it, and note which ports are used."""
        self.connections.append(connection)
        self.outputs_used.setdefault(connection.source, set()).add(connection.output)
        self.inputs_used.setdefault(connection.target, set()).add(connection.input)

    def pseudo(self, entry: int, leave: int) -> tuple[int, int, list[str]]:
        """How many ports the ends of a compound element or group have, and what is wrong with them."""
        wrong = []
        counts = []
        for index, used, misused, here, meant in (
            (entry, self.outputs_used, self.inputs_used, "input", "packets come out of it, none go in"),
            (leave, self.inputs_used, self.outputs_used, "output", "packets go into it, none come out"),
        ):
            ports = used.get(index, set())
            count = max(ports) + 1 if ports else 0
            if index in misused:
                wrong.append(f"'{here}' is used in the wrong direction: {meant}")
            missing = [number for number in range(count) if number not in ports]
            if missing:
                shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
                wrong.append(f"{here} {shown} missing: ports of 0 to {count - 1} must all be used")
            counts.append(count)
        return counts[0], counts[1], wrong

    def finished(self, inputs: int = 0, outputs: int = 0) -> Compound:
        """The scope as a value; elements without names get theirs, as ``Queue@3``."""
        return Compound(
            self.name,
            self.span,
            self.depth,
            tuple(self.formals),
            tuple(self.defines.items()),
            tuple(self._named()),
            tuple(self.connections),
            tuple(self.groups),
            inputs,
            outputs,
        )

    def _named(self) -> list[Element]:
        taken = {element.name for element in self.elements}
        found = []
        for element in self.elements:
            if not element.name.startswith(";"):
                found.append(element)
                continue
            prefix, _, number = element.name[1:].rpartition("@")
            count = int(number)
            while f"{prefix}@{count}" in taken:
                count += 1
            taken.add(f"{prefix}@{count}")
            found.append(Element(f"{prefix}@{count}", element.kind, element.configuration, element.span))
        return found
