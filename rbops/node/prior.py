"""The value of every setting before rbops first changed it, so that it can be restored when no longer planned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import StateUnknown
from rbops.node.execute import undo
from rbops.node.settings import Action, Setting, action_from_json, action_to_json
from rbops.node.state import read_json, write_whole
from rbops.node.system import System

__all__ = ["Prior"]

_ROUTES = ("kernel routes", "kernel IPv6 routes")
_FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@dataclass(frozen=True, slots=True)
class Prior:
    """The undo file: the first value of a setting stays, later ones are rbops's own."""

    path: Path

    def remember(self, settings: Iterable[Setting]) -> frozenset[str]:
        """Record how to undo what is about to be changed; on the disk when this returns. The keys that are new."""
        entries = self._entries()
        known = {_key(entry["subject"], entry["setting"]) for entry in entries}
        fresh = []
        for setting in settings:
            key = _key(setting.subject, setting.name)
            if setting.undo and key not in known:
                known.add(key)
                fresh.append(
                    {
                        "subject": setting.subject,
                        "setting": setting.name if setting.subject not in _ROUTES else "",
                        "have": setting.have,
                        # What rbops took away as a stranger comes back only when rbops itself goes.
                        "stranger": setting.want == "absent",
                        "undo": [action_to_json(action) for action in setting.undo],
                    }
                )
        if fresh:
            self._save([*entries, *fresh])
        return frozenset(_key(str(entry["subject"]), str(entry["setting"])) for entry in fresh)

    def forget(self, keys: frozenset[str]) -> None:
        """Drop what was recorded for changes that were refused: there is nothing to undo."""
        if keys:
            self._save([entry for entry in self._entries() if _key(entry["subject"], entry["setting"]) not in keys])

    def leftovers(self, managed: Iterable[Setting]) -> list[Setting]:
        """What rbops set once and the plan no longer names, newest first, as settings to restore."""
        names = {_key(setting.subject, setting.name) for setting in managed}
        return [
            Setting(entry["subject"], entry["setting"], "set by rbops", entry["have"], _actions(entry))
            for entry in reversed(self._entries())
            if _key(entry["subject"], entry["setting"]) not in names and not entry["stranger"]
        ]

    def drop(self, system: System, settings: list[Setting]) -> None:
        """Restore leftovers and forget them; StateUnknown (6) when that fails."""
        failures = undo(system, [action for setting in settings for action in setting.actions])
        if failures:
            raise StateUnknown(
                f"restoring what is no longer planned failed: {'; '.join(failures)}",
                code="node.restore-failed",
                hint=f"see {self.path}",
            )
        gone = {_key(setting.subject, setting.name) for setting in settings}
        self._save([entry for entry in self._entries() if _key(entry["subject"], entry["setting"]) not in gone])

    def restore(self, system: System, subjects: frozenset[str] | None = None) -> list[str]:
        """Undo everything (of ``subjects``), newest first, and forget it; returns what failed, which is kept."""
        # Forwarding goes off first: writing it resets other parameters, which then get their own values back.
        newest = [entry for entry in reversed(self._entries()) if subjects is None or entry["subject"] in subjects]
        entries = sorted(newest, key=lambda entry: entry["setting"] not in _FORWARDING)
        failed: list[dict[str, Any]] = []
        messages: list[str] = []
        for entry in entries:
            failures = undo(system, _actions(entry))
            if failures:
                failed.append(entry)
                messages += failures
        if failed:
            self._save(list(reversed(failed)))
        else:
            self.path.unlink(missing_ok=True)
        return messages

    def _entries(self) -> list[dict[str, Any]]:
        stored = read_json(self.path)
        return [] if stored is None else list(stored["entries"])

    def _save(self, entries: list[dict[str, Any]]) -> None:
        write_whole(self.path, json.dumps({"schema_version": 1, "entries": entries}, indent=1).encode())


def _key(subject: str, setting: str) -> str:
    return subject if subject in _ROUTES else f"{subject}\t{setting}"


def _actions(entry: dict[str, Any]) -> tuple[Action, ...]:
    return tuple(action_from_json(action) for action in entry["undo"])
