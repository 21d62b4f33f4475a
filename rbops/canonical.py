"""Frozen dataclasses as canonical JSON: sorted keys, and fast for plans of hundreds of thousands of cables.

``dataclasses.asdict`` with ``json.dumps`` takes minutes for such a plan, and holds several copies of it. Here text
is written piece by piece, and what many values share is written once: a tuple met again (a port's queues) comes from
memory, and so does all of a dataclass but its strings (a port of its kind, with only the names its own).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from json.encoder import encode_basestring
from typing import Any

__all__ = ["Encoder"]

_STRINGS = frozenset({"str", "str | None"})
"""Annotations of the fields that are written anew each time."""

Segments = tuple[str, ...]


class Encoder:
    """Writes values as JSON with ``step`` spaces per level, or compactly for None.

    The text is what ``json.dumps`` with sorted keys gives. Values are remembered by identity: all that is given
    to one encoder must outlive it.
    """

    __slots__ = ("_colon", "_shapes", "_step", "_templates", "_tuples")

    def __init__(self, step: int | None = None) -> None:
        self._step = step
        self._colon = ":" if step is None else ": "
        self._shapes: dict[tuple[type, str | None, int], _Shape] = {}
        # None: met once. Only what is met again is kept, or all of the text would be.
        self._tuples: dict[tuple[int, int], str | None] = {}
        self._templates: dict[tuple[int, ...], Segments | None] = {}

    def text(self, value: Any, level: int = 0, omit: str | None = None) -> str:
        """``value`` (a scalar, a tuple or a dataclass of such) at depth ``level``, without the field ``omit``."""
        out: list[str] = []
        self._write(value, level, out, omit)
        return "".join(out)

    def mapping(self, items: Iterable[tuple[str, Iterable[str]]], level: int = 0) -> Iterator[str]:
        """An object piece by piece: its keys, in order, with the pieces of each one's value."""
        yield "{"
        mark = self._pad(level + 1)
        empty = True
        for key, pieces in items:
            yield f"{mark}{encode_basestring(key)}{self._colon}"
            yield from pieces
            mark = f",{self._pad(level + 1)}"
            empty = False
        yield "}" if empty else f"{self._pad(level)}}}"

    def _pad(self, level: int) -> str:
        return "" if self._step is None else "\n" + " " * (self._step * level)

    def _write(self, value: Any, level: int, out: list[str], omit: str | None = None) -> None:
        kind = type(value)
        if kind is tuple:
            self._tuple(value, level, out)
        elif kind in _SCALARS:
            out.append(_SCALARS[kind](value))
        else:
            self._dataclass(value, level, out, omit)

    def _tuple(self, value: tuple[Any, ...], level: int, out: list[str]) -> None:
        if not value:
            out.append("[]")
            return
        key = (id(value), level)
        known = self._tuples.get(key, "")
        if known:
            out.append(known)
            return
        again = known is None
        own: list[str] = [] if again else out
        mark = f"[{self._pad(level + 1)}"
        for item in value:
            own.append(mark)
            self._write(item, level + 1, own)
            mark = f",{self._pad(level + 1)}"
        own.append(f"{self._pad(level)}]")
        self._tuples[key] = "".join(own) if again else None
        if again:
            out += own

    def _dataclass(self, value: Any, level: int, out: list[str], omit: str | None) -> None:
        kind = (type(value), omit, level)
        shape = self._shapes.get(kind)
        if shape is None:
            shape = self._shapes[kind] = _shape(type(value), omit, len(self._shapes))
        key = (shape.number, *map(id, shape.others(value)))
        segments = self._templates.get(key, ())
        if not segments:
            self._templates[key] = self._segments(value, shape, level) if segments is None else None
            if segments is not None:
                self._fields(value, shape, level, out)
                return
            segments = self._templates[key] or ()
        out.append(segments[0])
        for text, rest in zip(shape.strings(value), segments[1:], strict=True):
            out.append("null" if text is None else encode_basestring(text))
            out.append(rest)

    def _fields(self, value: Any, shape: _Shape, level: int, out: list[str]) -> None:
        mark = "{"
        for name, key in shape.keys:
            out.append(f"{mark}{self._pad(level + 1)}{key}{self._colon}")
            self._write(getattr(value, name), level + 1, out)
            mark = ","
        out.append(f"{self._pad(level)}}}")

    def _segments(self, value: Any, shape: _Shape, level: int) -> Segments:
        """The text of ``value`` around its strings."""
        segments: list[str] = []
        own: list[str] = []
        mark = "{"
        for name, key in shape.keys:
            own.append(f"{mark}{self._pad(level + 1)}{key}{self._colon}")
            mark = ","
            if name in shape.varying:
                segments.append("".join(own))
                own = []
            else:
                self._write(getattr(value, name), level + 1, own)
        own.append(f"{self._pad(level)}}}")
        return (*segments, "".join(own))


@dataclass(frozen=True, slots=True)
class _Shape:
    """A class's fields in order, each with its key; ``strings`` reads those in ``varying``, ``others`` the rest."""

    number: int
    keys: tuple[tuple[str, str], ...]
    varying: frozenset[str]
    strings: Callable[[Any], tuple[Any, ...]]
    others: Callable[[Any], tuple[Any, ...]]


def _shape(kind: type[Any], omit: str | None, number: int) -> _Shape:
    found = sorted((field for field in fields(kind) if field.name != omit), key=lambda field: field.name)
    # An annotation is text where the class's module postpones them; any other is left to be one of the rest.
    varying = [field.name for field in found if isinstance(field.type, str) and field.type in _STRINGS]
    others = [field.name for field in found if field.name not in varying]
    keys = tuple((field.name, encode_basestring(field.name)) for field in found)
    return _Shape(number, keys, frozenset(varying), _reader(varying), _reader(others))


def _reader(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _number(value: float) -> str:
    return json.dumps(value, allow_nan=False)


_SCALARS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: str,
    bool: {True: "true", False: "false"}.__getitem__,
    float: _number,
    type(None): lambda _: "null",
}
