"""The routes in Click's look-up: read from its library and from its handlers, and the commands between the two."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from rbops.dataplane.click.control import Control

__all__ = ["Routes", "changes", "chunks", "digest", "planned_routes", "table"]

_CHUNK = 48 * 1024
"""Bytes of one write to a handler: Click takes up to 64 KiB."""
_ROUTE = re.compile(r"^ +([0-9.]+/[0-9]+)(?: ([0-9.]+))? ([0-9]+)[,)]", re.MULTILINE)

Routes = dict[str, tuple[str, str]]
"""Prefix -> (next hop or "-", output)."""


def planned_routes(library: str) -> Routes:
    """Those of the library's text."""
    return {m[1]: (m[2] or "-", m[3]) for m in _ROUTE.finditer(library)}


def table(control: Control, element: str) -> Routes:
    """What a look-up has."""
    lines = control.read(f"{element}.table").splitlines()
    return {words[0]: (words[1], words[2]) for line in lines if (words := line.split())}


def changes(have: Routes, want: Routes) -> Iterator[str]:
    """Click's commands from one table to the other: additions first, so that no address is without a route between."""
    for prefix, (gateway, output) in want.items():
        if have.get(prefix) != (gateway, output):
            yield f"set {prefix} {gateway} {output}"
    for prefix in have:
        if prefix not in want:
            yield f"remove {prefix}"


def chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    """Lines in groups that fit one write to a handler."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) + 1 > _CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield chunk


def digest(routes: Routes) -> str:
    """SHA-256 by which tables are compared."""
    text = "\n".join(f"{prefix} {' '.join(way)}" for prefix, way in sorted(routes.items()))
    return hashlib.sha256(text.encode()).hexdigest()
