"""The promises, and how their tests ended last: ``tests/faults/promises.yml`` and ``results.json`` beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

__all__ = ["FOLDER", "Group", "Promise", "Results", "merged", "promises", "read_results", "summary"]

FOLDER = Path(__file__).parents[2] / "tests" / "faults"
_MATRIX = "matrix: "
_CASE = "tests/faults/test_cluster.py::test_fault["
_SERVER = "tests/faults/test_server.py::test_kill["
_MEMORY = "tests/faults/test_every_write.py::"


@dataclass(frozen=True, slots=True)
class Promise:
    """``tests``: ids of pytest, or ``matrix: PATTERN`` for faults of the matrix by their names."""

    section: str
    number: int
    text: str
    tests: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its tests outside of the matrix."""
        return tuple(test for test in self.tests if not test.startswith(_MATRIX))

    @property
    def patterns(self) -> tuple[str, ...]:
        """Its faults of the matrix."""
        return tuple(test.removeprefix(_MATRIX) for test in self.tests if test.startswith(_MATRIX))

    def has(self, nodeid: str) -> bool:
        """Whether a test that ran is one of its own."""
        if nodeid.startswith(_CASE):
            return any(fnmatchcase(nodeid.removeprefix(_CASE)[:-1], pattern) for pattern in self.patterns)
        return any(_same(nodeid, node) for node in self.nodes)


def _same(nodeid: str, node: str) -> bool:
    name, _, parameters = node.partition("[")
    if parameters and parameters != "*]":
        return nodeid == node
    return nodeid.partition("[")[0] == name


@dataclass(frozen=True, slots=True)
class Group:
    """Faults of one kind: of a verb, what was done to how many servers, and how many of them kept the promise."""

    verb: str
    damage: str
    role: str
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Results:
    """The last run. ``promises``: number -> passed, failed, left out; ``memory``: faults without a lab."""

    day: str
    minutes: float
    promises: dict[int, dict[str, int]]
    groups: tuple[Group, ...]
    memory: int
    memory_failed: int

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return asdict(self)

    @property
    def in_the_lab(self) -> int:
        """Faults that were injected into booted servers."""
        return sum(group.passed + group.failed for group in self.groups)


def promises() -> list[Promise]:
    """All of them, by number."""
    content = yaml.safe_load((FOLDER / "promises.yml").read_text(encoding="utf-8"))
    return [
        Promise(section, entry["number"], entry["promise"], tuple(entry["tests"]))
        for section, entries in content.items()
        for entry in entries
    ]


def read_results() -> Results:
    """Those that are stored."""
    found = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    numbers = {int(number): counts for number, counts in found["promises"].items()}
    groups = tuple(Group(**group) for group in found["groups"])
    return Results(**{**found, "promises": numbers, "groups": groups})


def summary(day: str, lines: Iterable[Sequence[Any]]) -> Results:
    """Of the recorder's lines: of a test that ran twice the last one counts."""
    ran = (line for line in lines if line[1] != "skipped")
    last = {nodeid: (outcome, seconds, faults) for nodeid, outcome, seconds, faults, *_ in ran}
    kept: Counter[tuple[str, str, str, bool]] = Counter()
    memory: Counter[bool] = Counter()
    for nodeid, (outcome, _, faults) in last.items():
        if nodeid.startswith(_MEMORY):
            memory[outcome == "passed"] += faults
        elif nodeid.startswith((_CASE, _SERVER)):
            kept[*_kind(nodeid), outcome == "passed"] += 1
    kinds = sorted({key[:3] for key in kept})
    return Results(
        day,
        round(sum(seconds for _, seconds, _ in last.values()) / 60, 1),
        {p.number: dict(Counter(o for n, (o, _, _) in last.items() if p.has(n))) for p in promises()},
        tuple(Group(*kind, passed=kept[*kind, True], failed=kept[*kind, False]) for kind in kinds),
        memory[True] + memory[False],
        memory[False],
    )


def merged(earlier: Results, later: Results) -> Results:
    """The larger of both matrices; of a promise the later result, unless fewer of its tests ran and all passed."""
    matrix = later if later.in_the_lab >= earlier.in_the_lab else earlier
    promised = dict(earlier.promises)
    for number, counts in later.promises.items():
        if "failed" in counts or sum(counts.values()) >= sum(promised.get(number, {}).values()):
            promised[number] = counts
    return replace(matrix, promises=promised)


def _kind(nodeid: str) -> tuple[str, str, str]:
    """Verb, damage and role out of a fault's name."""
    if nodeid.startswith(_SERVER):
        verb = nodeid.removeprefix(_SERVER).rpartition("-")[0]
        return f"rbops-node {verb}", "KILL", "one"
    words = nodeid.removeprefix(_CASE).split("-")
    end = next((at for at, word in enumerate(words) if word in {"one", "all"}), 0)
    return (words[0], "-".join(words[1:end]), words[end]) if end else (words[0], words[1], "")
