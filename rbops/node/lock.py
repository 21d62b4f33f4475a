"""One operator at a time: who holds this server, for which run, since when."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from rbops.errors import Locked
from rbops.node.clock import boot_id, uptime
from rbops.node.state import State, read_json, write_whole

__all__ = ["check", "held", "lock", "sweep", "unlock"]


def held(state: State) -> dict[str, Any] | None:
    """``{"holder", "run", "age_s"}`` of the lock, None when it is free.

    A lock from before the last boot is free once no change is open: what its run did here is undone.
    """
    record = read_json(state.lock)
    if record is None:
        return None
    earlier = record.get("boot", boot_id()) != boot_id()
    if earlier and read_json(state.snapshot / "manifest.json") is None:
        return None
    age = uptime() if earlier else uptime() - record["since"]
    return {"holder": record["holder"], "run": record["run"], "age_s": max(0, int(age))}


def sweep(state: State) -> None:
    """Remove a lock that is free because the server has booted since."""
    if state.lock.exists() and held(state) is None:
        with contextlib.suppress(OSError):  # on a disk that is read-only it stays, and is free all the same
            state.lock.unlink()


def check(state: State, run: str | None) -> None:
    """Locked (7), with holder, age and run, when another run than ``run`` holds the server."""
    record = held(state)
    if record is not None and record["run"] != run:
        raise Locked(
            f"locked by {record['holder']} since {record['age_s']} s (run {record['run']})",
            code="node.locked",
            hint="wait for its end; `rbops apply --break-lock` takes over the lock of a run that is gone, except while "
            "its change is open: wait until that is reverted",
        )


def lock(state: State, holder: str, run: str, *, takeover: bool) -> None:
    """Take the lock; the same run may take it again. ``takeover`` takes it from another run.

    Locked (7) when another run holds it, and for ``takeover`` while a transaction of another run is open.
    """
    open_run = (read_json(state.snapshot / "manifest.json") or {}).get("run", run)
    if not takeover or open_run != run:
        check(state, run)
    if open_run != run:
        raise Locked(
            f"run {open_run} has an open change on this server, its lock cannot be taken over",
            code="node.open-change",
            hint="wait until it is confirmed or reverted: `rbops status` shows the time left",
        )
    record = {"holder": holder, "run": run, "since": uptime(), "boot": boot_id()}
    if (held(state) or {}).get("run") != run:
        write_whole(state.lock, json.dumps(record).encode())


def unlock(state: State, run: str) -> bool:
    """Release the lock; returns whether there was one. Locked (7) when another run holds it."""
    check(state, run)
    there = state.lock.exists()
    state.lock.unlink(missing_ok=True)
    return there
