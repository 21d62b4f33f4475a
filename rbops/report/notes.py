"""Planned settings that servers do not support: alike notes are one line for all servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rbops.common.cpulist import list_text
from rbops.node.settings import Note

__all__ = ["note_lines"]

_MOST_LINES = 20
_MOST_PLACES = 4
_MOST_NAMES = 8


def note_lines(found: Mapping[str, Sequence[Note]]) -> Iterator[str]:
    """A heading and a line for each setting and reason, at most a screenful; nothing without notes."""
    grouped: dict[tuple[str, str], dict[str, list[Note]]] = {}
    for server, notes in found.items():
        for note in notes:
            key = (_split(note.setting)[0], note.reason)
            grouped.setdefault(key, {}).setdefault(server, []).append(note)
    if not grouped:
        return
    yield "planned, but not so on the servers:"
    for (setting, reason), servers in list(grouped.items())[:_MOST_LINES]:
        every = [note for notes in servers.values() for note in notes]
        numbers = {int(number) for note in every if (number := _split(note.setting)[1])}
        name = f"{setting} {list_text(numbers)}" if numbers else setting
        yield f"  {name}: {reason} ({_places(servers)})"
    if len(grouped) > _MOST_LINES:
        yield f"  and {len(grouped) - _MOST_LINES} more: --format json has all"


def _places(servers: Mapping[str, Sequence[Note]]) -> str:
    """``n0, n1: port ext0``: the place of a note; servers with the same subjects together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for server, notes in servers.items():
        alike.setdefault(tuple(dict.fromkeys(note.subject for note in notes)), []).append(server)
    shown = list(alike.items())[:_MOST_PLACES]
    parts = [f"{_names(names)}: {_subjects(subjects)}" for subjects, names in shown]
    left = len(servers) - sum(len(names) for _, names in shown)
    if left:
        parts.append(f"and {left} more server{'s' if left > 1 else ''}")
    return "; ".join(parts)


def _subjects(subjects: Iterable[str]) -> str:
    """``CPU 0-3``, ``port ext0, int1``: subjects of one kind together."""
    kinds: dict[str, list[str]] = {}
    for subject in subjects:
        kind, _, name = subject.partition(" ")
        kinds.setdefault(kind, []).append(name)
    return ", ".join(f"{kind} {_listed(names)}".strip() for kind, names in kinds.items())


def _listed(names: Sequence[str]) -> str:
    if all(name.isdecimal() for name in names):
        return list_text({int(name) for name in names})
    return _names(names)


def _names(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMES
    return ", ".join([*names[:_MOST_NAMES], *([f"{left} more"] if left > 0 else [])])


def _split(setting: str) -> tuple[str, str]:
    """``irq 12`` as ``("irq", "12")``; a setting without a number has an empty one."""
    stem, _, number = setting.rpartition(" ")
    return (stem, number) if stem and number.isdecimal() else (setting, "")
