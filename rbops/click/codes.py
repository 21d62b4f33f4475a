"""The three codes of an element class: port counts, processing, and flow.

ports       "1-2/1"     one or two inputs, one output;  "-/="  as many outputs as inputs
processing  "h/lh"      inputs push, first output pull, the others push
flow        "xy/x[xy]"  what comes in at input 1 leaves at output 1 alone
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Counts", "counts", "flows", "processing"]

_RANGE = re.compile(r"(\d*)(-?)(\d*)\Z")
_FLOW = re.compile(r"\[(\^?)([^\]]*)\]?|([A-Za-z#])")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many ports a side may have; ``most`` None: any number."""

    least: int
    most: int | None

    def __str__(self) -> str:
        if self.most is None:
            return f"at least {self.least}"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def counts(code: str, inputs: int) -> tuple[Counts, Counts] | None:
    """What inputs and outputs a class may have, with ``inputs`` in use; None: nothing known."""
    before, slash, after = code.partition("/")
    entry = _count(before)
    if not code or entry is None:
        return None
    if not slash:
        return entry, entry
    if after.startswith("=") and set(after[1:]) <= {"+"}:
        used = inputs if entry.most is None else min(inputs, entry.most)
        exact = max(used, entry.least) + len(after) - 1
        return entry, Counts(exact, exact)
    leave = _count(after)
    return None if leave is None else (entry, leave)


def _count(text: str) -> Counts | None:
    match = _RANGE.match(text)
    if match is None or not text:
        return None
    least = int(match[1] or 0)
    if not match[2]:
        return Counts(least, least)
    return Counts(least, int(match[3]) if match[3] else None)


def processing(code: str, inputs: int, outputs: int) -> tuple[str, str]:
    """A letter (h, l or a) for every input and every output; a port without one has the last of its side."""
    before, slash, after = code.replace("@", "").partition("/")
    return _letters(before, inputs), _letters(after if slash else before, outputs)


def _letters(code: str, number: int) -> str:
    known = re.sub(r"[^hla]", "a", code.replace("H", "a").replace("L", "a")) or "a"
    return (known + known[-1] * number)[:number]


def flows(code: str, inputs: int, outputs: int) -> Sequence[Sequence[int]]:
    """For every input the outputs that its packets may leave at."""
    if code in {"", "x/x", "x"}:
        return [range(outputs)] * inputs
    before, slash, after = code.partition("/")
    leaves = _sets(after if slash else before, outputs)
    found = []
    seen: dict[_Set, Sequence[int]] = {}
    for entry in _sets(before, inputs):
        if entry not in seen:
            seen[entry] = [port for port, leave in enumerate(leaves) if _meet(entry, leave)]
        found.append(seen[entry])
    return found


_Set = tuple[bool, frozenset[str]]


def _sets(code: str, number: int) -> list[_Set]:
    """The letters of each port, or with True all but these."""
    parts = _FLOW.findall(code) or [("", "", "x")]
    found = []
    for port in range(number):
        negated, several, single = parts[min(port, len(parts) - 1)]
        found.append((bool(negated), frozenset(str(port) if char == "#" else char for char in single or several)))
    return found


def _meet(first: _Set, second: _Set) -> bool:
    if first[0] and second[0]:
        return True
    if first[0] or second[0]:
        without, having = (first[1], second[1]) if first[0] else (second[1], first[1])
        return bool(having - without)
    return bool(first[1] & second[1])
