"""The configurations that servers keep, and what a rollback or a removal did."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rbops.deploy.history import Generation, ServerHistory
from rbops.deploy.rollback import RolledBack
from rbops.report.tables import Block, Table
from rbops.report.words import counted

__all__ = ["history_blocks", "history_json", "rolled_back_json", "rolled_back_lines"]

_SHORT = 12
_COLUMNS = ("back", "plan", "confirmed (UTC)", "by", "run", "reason")


def history_blocks(found: Sequence[ServerHistory]) -> Iterator[Block]:
    """One table for servers with the same history; servers whose plans differ are named."""
    alike: dict[tuple[str | None, tuple[str, ...]], list[ServerHistory]] = {}
    for server in found:
        alike.setdefault((server.digest, tuple(g.run for g in server.generations)), []).append(server)
    for servers in alike.values():
        names = ", ".join(server.name for server in servers)
        first = servers[0]
        if first.generations:
            yield Table(f"Configurations of {names}", _COLUMNS, tuple(_rows(first)))
        else:
            yield f"{names}: no confirmed configuration"
    plans = {server.digest for server in found}
    if len(plans) > 1:
        have = ", ".join(f"{server.name} {(server.digest or 'none')[:_SHORT]}" for server in found)
        yield f"the servers have different plans: {have}; `rbops apply` makes them equal"


def _rows(server: ServerHistory) -> Iterator[tuple[str, ...]]:
    first = len(server.earlier) - len(server.generations) + 1
    for back, generation in enumerate(server.generations, first):
        yield (
            "present" if back == 0 else str(back),
            generation.digest[:_SHORT],
            _date(generation),
            generation.holder,
            generation.run,
            generation.reason or "-",
        )


def _date(generation: Generation) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(generation.confirmed))


def history_json(found: Sequence[ServerHistory]) -> dict[str, Any]:
    """By server: its present plan and its generations, newest first."""
    servers = {
        server.name: {"digest": server.digest, "generations": [g.to_dict() for g in server.generations]}
        for server in found
    }
    return {"schema_version": 1, "servers": servers}


def rolled_back_lines(done: RolledBack) -> Iterator[str]:
    """What the servers have now."""
    servers = counted(len(done.servers), "server")
    if not done.digest:
        yield f"removed from {servers}: nothing of rbops is left there"
        return
    yield f"rolled back {servers}; confirmed. Plan {done.digest[:_SHORT]}"
    for name, entries in done.waiting.items():
        yield f"{name}: reboot required: {'; '.join(map(str, entries))}"


def rolled_back_json(done: RolledBack) -> dict[str, Any]:
    """The same as an object; ``digest`` null after a removal."""
    return {
        "schema_version": 1,
        "run": done.run.id,
        "folder": str(done.run.folder),
        "digest": done.digest or None,
        "servers": list(done.servers),
        "reboot_required": {name: [asdict(entry) for entry in found] for name, found in done.waiting.items()},
    }
