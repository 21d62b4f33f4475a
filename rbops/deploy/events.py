"""What Ansible reports while it runs, as typed events."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rbops.node.settings import Note

__all__ = ["Status", "TaskEvent", "parse_event"]

Status = Literal["started", "ok", "changed", "skipped", "failed", "unreachable"]

_TAIL = 5


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A task began or ended on a server.

    ``message`` is the reason of a failure; ``diff`` what ``--diff`` shows, as text with ``-`` and
    ``+`` lines; ``ignored`` a failure that the play continues after; ``notes`` settings that the
    hardware does not support.
    """

    host: str
    task: str
    status: Status
    message: str = ""
    diff: str = ""
    role: str = ""
    ignored: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def title(self) -> str:
        """``role: task`` for people."""
        return f"{self.role}: {self.task}" if self.role else self.task


_KINDS: Mapping[str, Status] = {
    "runner_on_start": "started",
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}


def parse_event(event: Mapping[str, Any]) -> TaskEvent | None:
    """An ansible-runner event as a :class:`TaskEvent`; None for those about no task on a host."""
    kind = _KINDS.get(str(event.get("event")))
    data = event.get("event_data")
    if kind is None or not isinstance(data, Mapping) or not data.get("host"):
        return None
    result = data.get("res")
    result = result if isinstance(result, Mapping) else {}
    if kind == "ok" and result.get("changed"):
        kind = "changed"
    failed = kind in {"failed", "unreachable"}
    return TaskEvent(
        host=str(data["host"]),
        task=str(data.get("task") or ""),
        status=kind,
        message=_reason(result) if failed else "",
        diff=_diff_text(result),
        role=str(data.get("role") or ""),
        ignored=bool(data.get("ignore_errors")),
        notes=tuple(_notes(result.get("unsupported"))),
    )


def _notes(found: object) -> Iterator[Note]:
    """What the role activate returns as ``unsupported``."""
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, Mapping) and {"subject", "setting", "reason"} <= entry.keys():
            yield Note(str(entry["subject"]), str(entry["setting"]), str(entry["reason"]))


def _reason(result: Mapping[str, Any]) -> str:
    """The module's message, what the loop's items said, and the tail of stderr."""
    if result.get("censored"):
        return str(result["censored"])
    parts = [str(result.get("msg") or "").strip()]
    items = [item for item in result.get("results", []) if isinstance(item, Mapping) and item.get("failed")]
    parts += [f"{item.get('item', '')}: {_reason(item)}" for item in items]
    for stream in ("module_stderr", "stderr"):
        lines = [line for line in str(result.get(stream) or "").splitlines() if line.strip()]
        if lines and lines[-1].strip() not in parts[0]:
            parts.append("\n".join(lines[-_TAIL:]))
            break
    return "\n".join(part for part in parts if part) or "no reason given"


def _diff_text(result: Mapping[str, Any]) -> str:
    found = result.get("diff")
    diffs = [found] if isinstance(found, Mapping) else list(found or [])
    for item in result.get("results", []):
        if isinstance(item, Mapping):
            inner = item.get("diff")
            diffs += [inner] if isinstance(inner, Mapping) else list(inner or [])
    return "".join(_one_diff(diff) for diff in diffs if isinstance(diff, Mapping))


def _one_diff(diff: Mapping[str, Any]) -> str:
    if "prepared" in diff:
        return str(diff["prepared"])
    before, after = _side(diff.get("before")), _side(diff.get("after"))
    if before == after:
        return ""
    names = (str(diff.get("before_header") or "before"), str(diff.get("after_header") or "after"))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=2)
    return "".join(f"{line}\n" for line in lines)


def _side(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"{key}: {item}\n" for key, item in sorted(value.items()))
    return str(value or "")
