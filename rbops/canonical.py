"""Frozen dataclasses as canonical JSON: sorted keys, no spaces, and fast for plans of thousands of servers.

``dataclasses.asdict`` copies deeply and ``json.dumps`` indents in Python only, which together take
20 s for a plan of 3,072 servers. Here what many values share (the queues of a port) is converted
once, and the text comes in pieces, so that a digest never holds it whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

__all__ = ["compact", "indented", "plain"]

_SCALARS = frozenset({str, int, float, bool, type(None)})


def plain(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """``value`` as dicts, lists and scalars.

    ``memo`` maps ids of tuples to their lists; the tuples must outlive it.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is tuple:
        if memo is None:
            return [plain(item) for item in value]
        found = memo.get(id(value))
        if found is None:
            found = memo[id(value)] = [plain(item, memo) for item in value]
        return found
    return {name: plain(getattr(value, name), memo) for name in kind.__dataclass_fields__}


def compact(parts: Mapping[str, Any], servers: Mapping[str, Any]) -> Iterator[str]:
    """The JSON object of ``parts`` and, under ``servers``, the values of ``servers``, piece by piece.

    ``servers`` hold what ``plain`` takes; ``parts`` are plain already. The pieces join to what
    ``json.dumps`` with sorted keys and without spaces gives.
    """
    yield "{"
    for place, key in enumerate(sorted([*parts, "servers"])):
        yield f"{',' if place else ''}{encode_basestring(key)}:"
        if key != "servers":
            yield _dumps(parts[key])
            continue
        memo: dict[int, Any] = {}
        yield "{"
        for number, name in enumerate(sorted(servers)):
            yield f"{',' if number else ''}{encode_basestring(name)}:{_dumps(_without_name(servers[name], memo))}"
        yield "}"
    yield "}"


def indented(parts: Mapping[str, Any], servers: Mapping[str, Any], step: int) -> str:
    """The same object with ``step`` spaces per level, as ``json.dumps`` indents it."""
    memo: dict[int, Any] = {}
    texts: dict[tuple[int, int], str] = {}
    tree = {**parts, "servers": {name: _without_name(server, memo) for name, server in servers.items()}}
    return _indent(tree, step, 0, texts)


def _without_name(server: Any, memo: dict[int, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = plain(server, memo)
    del tree["name"]
    return tree


def _indent(value: Any, step: int, level: int, texts: dict[tuple[int, int], str]) -> str:
    """Lists are remembered by level, since ``plain`` shares equal ones; the tree outlives ``texts``."""
    if isinstance(value, dict):
        if not value:
            return "{}"
        pad = "\n" + " " * (step * (level + 1))
        body = [
            f"{pad}{encode_basestring(key)}: {_indent(value[key], step, level + 1, texts)}" for key in sorted(value)
        ]
        return "{" + ",".join(body) + "\n" + " " * (step * level) + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        known = texts.get((id(value), level))
        if known is None:
            pad = "\n" + " " * (step * (level + 1))
            items = [pad + _indent(item, step, level + 1, texts) for item in value]
            known = texts[id(value), level] = "[" + ",".join(items) + "\n" + " " * (step * level) + "]"
        return known
    if type(value) is int:
        return str(value)
    return encode_basestring(value) if isinstance(value, str) else _dumps(value)


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
