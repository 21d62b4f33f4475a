"""The matrix: verb, point, what happens there, and to which servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.faults.damage import DAMAGES, KILLS, Damage
from tests.faults.growing import GROWTH

__all__ = ["POINTS", "SAMPLE", "VERBS", "Case", "cases"]

POINTS_FILE = Path(__file__).with_name("points.json")
POINTS: dict[str, list[str]] = json.loads(POINTS_FILE.read_text(encoding="utf-8"))
"""What each verb passes without a fault; a test compares."""

VERBS = ("first", "apply", "rollback", "remove", "reboot", "serial", "grow", "shrink")
"""``first``: apply to servers that never had anything of rbops; ``reboot``, ``serial``: ``apply`` with that option.

``grow``, ``shrink``: apply with a server more, or less.
"""
_AS_APPLY = frozenset({"first", "reboot", "serial", "grow", "shrink"})


@dataclass(frozen=True)
class Case:
    """One fault: ``damage`` at ``point`` of ``verb``, on ``servers`` (``one`` or ``all``; a kill concerns none)."""

    verb: str
    point: str
    damage: Damage
    role: str = ""

    def __str__(self) -> str:
        return "-".join(word for word in (self.verb, self.damage.name, self.role, _short(self.point)) if word)


def _short(point: str) -> str:
    return point.removeprefix("journal/").replace(" ", "_")


# Where damage is done: before the first write, between files and kernel, after both, before and between confirmations.
_STEPS = {
    "first": ["node/open/n1/after", "journal/task/n1/activate: The configuration takes effect"],
    "apply": [
        "node/open/n1/before",
        "node/open/n1/after",
        "journal/task/n1/node: The node program, its configuration, routes and units",
        "journal/task/n1/activate: The configuration takes effect",
        "node/rearm/n1/after",
        "node/confirm/n1/before",
    ],
    "rollback": ["node/open/n1/after", "node/restore/n1/before", "node/restore/n1/after", "node/confirm/n1/before"],
    "remove": ["node/open/n1/after", "node/remove/n1/after", "node/confirm/n1/before"],
    "reboot": ["node/lock/n1/after", "node/counters/n1/before"],
    # In the first step, between both, and in the second one.
    "serial": [
        "journal/task/n0/activate: The configuration takes effect",
        "journal/confirmed/n0",
        "journal/task/n1/activate: The configuration takes effect",
    ],
    "grow": ["node/hold/n0/after", "journal/task/n0/activate: The configuration takes effect", "node/undrain/n0/after"],
    "shrink": ["node/drain/n0/after", "node/confirm/n0/before"],
}
_CHANGE_NOTHING = ("/preflight: ", "/packages: ")
_ONLY_APPLY = {"cut-file", "no-effect", "port-lost"}


def _kills() -> Iterator[Case]:
    """Every signal at every entry of the journal of each verb, KILL also around every call of rbops-node.

    What the other kinds of apply share with any is not tried with each signal again; tasks that change nothing are
    tried in an apply, and the first one.
    """
    for verb in VERBS:
        shared = set(POINTS.get("apply", ())) if verb in _AS_APPLY else set()
        for point in POINTS.get(verb, ()):
            own = point not in shared
            again = verb == "first" or (verb != "reboot" and not any(task in point for task in _CHANGE_NOTHING))
            for kill in KILLS:
                if (own or again) if kill.name == "KILL" else own and point.startswith("journal/"):
                    yield Case(verb, point, kill)


def _damaged() -> Iterator[Case]:
    for verb, points in (_STEPS if POINTS else {}).items():
        for point in points:
            for damage in DAMAGES:
                if damage.name in _ONLY_APPLY and verb not in {"first", "apply"}:
                    continue
                for role in ("one",) if damage.name == "second-operator" or verb in GROWTH else ("one", "all"):
                    yield Case(verb, point, damage, role)


def cases() -> list[Case]:
    """All of them; those of a verb together, as they go to and fro between the same two states."""
    return [*_kills(), *_damaged()]


def _sampled() -> frozenset[str]:
    """Of each fault and of each step of each verb at least one: a pattern a line."""
    patterns = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8").split()
    names = [str(case) for case in cases()]
    found = {pattern: [name for name in names if fnmatchcase(name, pattern)] for pattern in patterns}
    assert not POINTS or all(len(matching) == 1 for matching in found.values()), found
    return frozenset(name for matching in found.values() for name in matching)


SAMPLE = _sampled() if POINTS else frozenset()
"""The ids of those that every run of the tests has."""
