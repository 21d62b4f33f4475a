"""A folder per run, 0700 and fresh: what was pushed, every event, and the result.

    RUN/plan.json       the plan
    RUN/events.jsonl    what happened, a line each
    RUN/result.json     how it ended
    RUN/project/        the rendered files that were pushed
    RUN/artifacts/      ansible-runner's own

They are in ``$XDG_STATE_HOME/rbops/runs`` (``~/.local/state/rbops/runs``).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rbops.errors import RbopsError, UsageError, Where

__all__ = ["Run", "new_run", "run_id", "runs_folder"]

_KEPT = 20

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its id (also the transaction's on the servers) and its folder."""

    id: str
    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def project(self) -> Path:
        """The folder of the rendered files."""
        return self.folder / "project"

    def write(self, name: str, text: str) -> Path:
        """Write a private file of the run; its folders are made."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def note(self, what: str, **facts: Any) -> None:
        """Append one event to the journal; safe from several threads."""
        line = json.dumps({"time_s": round(time.time(), 3), "event": what, **facts}, sort_keys=True, default=str)
        with self._lock:
            handle = os.open(
                self.folder / "events.jsonl",
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
            )
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write how the run ended."""
        self.write("result.json", json.dumps(result, indent=2, sort_keys=True) + "\n")

    def carry_out(
        self, facts: Mapping[str, Any], work: Callable[[], _Result], ended: Callable[[_Result], Mapping[str, Any]]
    ) -> _Result:
        """Do the work. The journal begins with the facts, and they and how it ended are written, also of a failure.

        ``ended``: what there is to write of the work's result.
        """
        self.note("start", **facts)
        try:
            done = work()
        except RbopsError as error:
            self.finish({**facts, "outcome": type(error).__name__, **error.to_json()})
            raise
        self.finish({**facts, "outcome": "confirmed", **ended(done)})
        return done


def runs_folder() -> Path:
    """Where runs are kept: ``$XDG_STATE_HOME/rbops/runs``, by default in ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "rbops" / "runs"


def run_id(verb: str) -> str:
    """A fresh id that sorts by time and has the verb: ``20260131T120000-apply-1a2b3c``."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{verb}-{secrets.token_hex(3)}"


def new_run(verb: str) -> Run:
    """Make a fresh folder for a run, and remove the oldest beyond the last twenty.

    Raises UsageError when it cannot be made.
    """
    root = runs_folder()
    name = run_id(verb)
    folder = root / name
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(
            f"cannot create the run's folder: {error}",
            code="runs.folder",
            where=Where(file=str(folder)),
            hint="set XDG_STATE_HOME to a folder that is writable",
        ) from error
    folder.chmod(0o700)
    _forget(root)
    return Run(name, folder)


def _forget(root: Path) -> None:
    """Remove finished runs, oldest first; one without a result may still be running or need an operator."""
    finished = sorted(path.parent for path in root.glob("*/result.json"))
    for folder in finished[:-_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
