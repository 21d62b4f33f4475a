"""What the generators read out of a command line or a schema, before it becomes Markdown or roff."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Key", "Option", "Program", "Section", "Verb"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option or argument as the help spells it, and what the help says of it, default included."""

    spelling: str
    text: str


@dataclass(frozen=True, slots=True)
class Verb:
    """One command with its whole name (``rbops lab up``), usage, paragraphs and options."""

    name: str
    usage: str
    text: tuple[str, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A command line: ``options`` are those before or for every verb."""

    name: str
    text: tuple[str, ...]
    options: tuple[Option, ...]
    verbs: tuple[Verb, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the spec: ``kind`` is what is written there, ``default`` and ``example`` as YAML."""

    name: str
    kind: str
    text: str
    required: bool
    default: str | None
    example: str | None


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of the spec by its path (``router``, ``ports[].neighbors[]``, empty at the top)."""

    path: str
    text: str
    keys: tuple[Key, ...]
