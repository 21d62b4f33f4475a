"""Where packets for an address go, a row a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rbops.deploy.routes import ServerRoute
from rbops.report.tables import Block, Table

__all__ = ["route_blocks", "route_json"]

_COLUMNS = ("server", "prefix", "kernel's route", "which means", "data plane")


def route_blocks(address: str, found: Sequence[ServerRoute]) -> Iterator[Block]:
    """A table; servers that did not answer have dashes."""
    yield Table(f"Packets for {address}", _COLUMNS, tuple(map(_row, found)))


def route_json(address: str, found: Sequence[ServerRoute]) -> dict[str, Any]:
    """The same as an object."""
    servers = {entry.name: dict(entry.answer) if entry.error is None else {"error": entry.error} for entry in found}
    return {"schema_version": 1, "address": address, "servers": servers}


def _row(entry: ServerRoute) -> tuple[str, ...]:
    if entry.error is not None:
        return (entry.name, *("-" for _ in _COLUMNS[1:]))
    answer = entry.answer
    return (
        entry.name,
        answer["prefix"] or "-",
        answer["route"] or "-",
        answer["hop"],
        answer["data_plane"]["entry"],
    )
