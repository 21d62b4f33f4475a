"""What a Click text says: elements, their classes and connections, scope by scope.

The parser resolves names, port lists and groups as it reads, so that what is left are the scopes
themselves: the file's own, and one a compound element class. ``rbops.click.flatten`` puts compound
elements in their places.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.click.config import Formal
from rbops.click.source import Span

__all__ = ["Base", "ClassRef", "Compound", "Connection", "Element", "Requirement", "Tree", "Tunnel", "Use"]


@dataclass(frozen=True, slots=True)
class Base:
    """A class written in C++, or one that nothing is known about."""

    name: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """No element: packets come out at its other end (``input``, ``output``, a group)."""


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """``name`` within its scope; ``configuration`` as written; ``span`` is the declaration."""

    name: str
    kind: ClassRef
    configuration: str
    span: Span


@dataclass(frozen=True, slots=True)
class Connection:
    """From an output port to an input port; elements are indexes into their scope's ``elements``."""

    source: int
    output: int
    target: int
    input: int
    span: Span


@dataclass(frozen=True, slots=True)
class Requirement:
    """``require(package "x")``: ``kind`` package or compact_config, ``value`` the name."""

    kind: str
    value: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Compound:
    """An ``elementclass``, or one body of several: ``overload`` is the next to try.

    ``elements[0]`` and ``elements[1]`` are ``input`` and ``output``; ``groups`` are the elements
    that represent a parenthesis, followed by its own input and output. ``depth`` counts the scopes
    around it.
    """

    name: str
    span: Span
    depth: int
    formals: tuple[Formal, ...]
    defines: tuple[tuple[str, str], ...]
    elements: tuple[Element, ...]
    connections: tuple[Connection, ...]
    groups: tuple[int, ...]
    inputs: int = 0
    outputs: int = 0
    overload: ClassRef | None = None

    def signature(self) -> str:
        """Its name, parameters and ports, for a message."""
        shown = ["..." if f.keyword == "__REST__" else f.keyword or "<arg>" for f in self.formals]
        arguments = f"({', '.join(shown)})" if shown else ""
        return f"{self.name or '<anonymous>'}{arguments} with {ports(self.inputs, self.outputs)}"


ClassRef = Base | Tunnel | Compound


@dataclass(frozen=True, slots=True)
class Use:
    """A C++ class and where it is named; ``guessed``: it may be meant as an element that is not declared."""

    name: str
    span: Span
    guessed: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole file: its outermost scope (without formals, ``input`` and ``output``) and what it requires.

    ``classes`` are the element classes declared at file scope, by name, in order; ``used`` is the first use of each
    class that no scope declares, also in compound elements that are not used. ``clashes`` are elements that have the
    name of a C++ class.
    """

    root: Compound
    requirements: tuple[Requirement, ...]
    classes: tuple[tuple[str, ClassRef], ...]
    used: tuple[Use, ...] = ()
    clashes: tuple[tuple[str, Span], ...] = ()


def ports(inputs: int, outputs: int) -> str:
    """``"1 input and 2 outputs"``."""
    return f"{inputs} input{'s' * (inputs != 1)} and {outputs} output{'s' * (outputs != 1)}"
