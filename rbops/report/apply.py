"""What apply did or would do: on each server, and what waits for a reboot or is not supported there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbops.deploy.apply import Applied
from rbops.deploy.effect import Effect
from rbops.deploy.reboot import Waiting
from rbops.deploy.status import ServerDiff
from rbops.report.notes import note_lines
from rbops.report.words import counted

__all__ = ["applied_json", "applied_lines", "diff_json", "diff_lines"]

SCHEMA_VERSION = 1

_MEANING = {
    Effect.HITLESS: "hitless",
    Effect.MOVES: "moving traffic (no packet lost, some may be out of order)",
    Effect.RESETS: "resetting a port (packets in it are lost)",
    Effect.REBOOT: "in force after a reboot",
}


def applied_lines(done: Applied, rebooted: Mapping[str, float]) -> Iterator[str]:
    """What changed, reboots done (seconds until the server forwarded again) or required, settings not supported."""
    yield _outcome(done)
    for name, entries in done.waiting.items():
        if name in rebooted:
            yield f"{name}: rebooted, forwards again after {rebooted[name]:.0f} s"
        else:
            yield f"{name}: reboot required: {_listed(entries)}"
    yield from note_lines(done.unsupported)


def _outcome(done: Applied) -> str:
    total, servers = done.total_changed, counted(len(done.changed), "server")
    tasks = counted(total, "task")
    if done.check:
        return f"{tasks} would change something on {servers}" if total else f"nothing would change on {servers}"
    if total and not done.played:
        where = f"{counted(total, 'server')} of {len(done.changed)}"
        return f"all files were there; settings of {where} were restored; confirmed. Plan {done.digest[:12]}"
    if total:
        return f"applied to {servers}, {tasks} changed something; confirmed. Plan {done.digest[:12]}"
    if done.partial:
        return f"nothing to change on {servers} in the tasks that --tags and --skip-tags select; confirmed"
    compared = "" if done.played else ": compared, not pushed"
    return f"nothing to change: {servers} already had this plan, {done.digest[:12]}{compared}"


def applied_json(done: Applied, rebooted: Mapping[str, float]) -> dict[str, Any]:
    """The same as an object."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": done.run,
        "folder": str(done.folder),
        "digest": done.digest,
        "check": done.check,
        "changed": dict(done.changed),
        "pushed": done.played and not done.check,
        "seconds": done.seconds,
        "reboot_required": _waiting({n: e for n, e in done.waiting.items() if n not in rebooted}),
        "rebooted": dict(rebooted),
        "left": list(done.gone),
        "unsupported": {n: [note.to_json() for note in notes] for n, notes in done.unsupported.items()},
    }


def diff_lines(found: Sequence[ServerDiff]) -> Iterator[str]:
    """Every change that apply would make, by server."""
    for server in found:
        yield f"{server.name}: " + ("as planned" if server.equal else counted(len(server.changes), "difference"))
        if server.waiting:
            yield f"  reboot required{'' if server.equal else ' after them'}: {_listed(server.waiting)}"
        for change in server.changes:
            yield f"  {change.subject}: {change.setting}: {change.have} -> {change.want} - {change.effect}"
    effects = [change.effect for server in found for change in server.changes]
    if effects:
        said = (f"{effects.count(kind)} {_MEANING[kind]}" for kind in _MEANING if kind in effects)
        yield f"of {counted(len(effects), 'difference')}: {', '.join(said)}"


def diff_json(found: Sequence[ServerDiff], digest: str) -> dict[str, Any]:
    """The same as an object."""
    return {
        "schema_version": SCHEMA_VERSION,
        "digest": digest,
        "equal": all(server.equal for server in found),
        "servers": {server.name: [change.to_dict() for change in server.changes] for server in found},
        "reboot_required": _waiting({server.name: server.waiting for server in found}),
    }


def _waiting(found: Mapping[str, Sequence[Waiting]]) -> dict[str, list[dict[str, str]]]:
    """Of the servers where something waits for a reboot."""
    return {name: [dataclasses.asdict(entry) for entry in entries] for name, entries in found.items() if entries}


def _listed(entries: Sequence[Waiting]) -> str:
    return "; ".join(map(str, entries))
