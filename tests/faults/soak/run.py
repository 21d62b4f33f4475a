"""The soak itself: change, fault, look, and a line for each in a log."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from rbops.deploy.effect import Effect
from tests.faults.arena import Arena
from tests.faults.cases import POINTS
from tests.faults.damage import DAMAGES, KILLS, Damage
from tests.faults.soak.changes import BASE, changed, text
from tests.faults.soak.stream import Stream

__all__ = ["Change", "Soak", "table"]

_FAULTS = 0.3
_GENTLE = {"management-cut", "hang", "clock-ahead", "disk-full-var", "sshd-restarted"}
"""Damage that by itself loses no packet."""
_HANGS = "hang"
_LOSSLESS = frozenset({Effect.HITLESS, Effect.MOVES})


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``effects`` are what diff said of it, ``code`` is the exit code of an apply that was disturbed."""

    number: int
    what: str
    effects: tuple[str, ...]
    fault: str
    code: int
    sent: int
    lost: int
    wrong: str
    seconds: float

    @property
    def called(self) -> Effect:
        """What diff said of the whole: the worst of its words; hitless where nothing differs."""
        return max((Effect(word) for word in self.effects), key=list(Effect).index, default=Effect.HITLESS)

    @property
    def lossless(self) -> bool:
        """Whether that promises that no packet is lost, and the fault itself lets packets through."""
        return self.called in _LOSSLESS and _HANGS not in self.fault


class Soak:
    """``minutes`` ends it before the number of changes does."""

    def __init__(self, arena: Arena, stream: Stream, seed: int, minutes: float = inf) -> None:
        self._arena = arena
        self._stream = stream
        self._dice = random.Random(seed)  # noqa: S311 - a soak that can be repeated
        self._until = time.monotonic() + 60 * minutes
        self._spec = BASE

    def run(self, count: int, log: Path, say: Callable[[str], None]) -> list[Change]:
        """Make the changes; the log has a line of JSON for each."""
        self._write("old", self._spec)
        self._planned("old")
        done: list[Change] = []
        with log.open("w", encoding="utf-8") as file:
            for change in self._changes(count):
                file.write(json.dumps(asdict(change)) + "\n")
                file.flush()
                say(f"{change.number:4} {change.what:12} {change.fault or '-':40} {change.lost:5} lost  {change.wrong}")
                done.append(change)
        return done

    def _changes(self, count: int) -> Iterator[Change]:
        for number in range(1, count + 1):
            if time.monotonic() > self._until:
                return
            what, spec = changed(self._dice, self._spec)
            yield self._change(number, what, spec)
            self._spec = spec

    def _change(self, number: int, what: str, spec: dict[str, Any]) -> Change:
        self._write("old", self._spec)
        self._write("new", spec)
        effects = self._effects()
        damage, point = self._fault()
        start, mark = time.monotonic(), self._stream.mark()
        code, wrong = 0, ""
        if damage is not None:
            code, wrong = self._disturbed(damage, point)
        wrong = wrong or self._planned("new")
        sent, lost = self._stream.lost(mark)
        fault = f"{damage.name} {point}" if damage else ""
        seconds = round(time.monotonic() - start, 1)
        change = Change(number, what, effects, fault, code, sent, lost, wrong, seconds)
        return change if not (change.lossless and lost and not wrong) else _lossy(change)

    def _write(self, name: str, spec: dict[str, Any]) -> None:
        self._arena.specs[name].write_text(text(spec), encoding="utf-8")

    def _effects(self) -> tuple[str, ...]:
        """What diff says of the change, each word once."""
        found = self._arena.run("diff", "--format", "json", spec="new")
        servers = json.loads(found.output[found.output.index("{") : found.output.rindex("}") + 1])["servers"]
        return tuple(sorted({change["effect"] for changes in servers.values() for change in changes}))

    def _fault(self) -> tuple[Damage | None, str]:
        if self._dice.random() > _FAULTS:
            return None, ""
        gentle = [damage for damage in DAMAGES if damage.name in _GENTLE]
        damage = self._dice.choice([*KILLS, *KILLS, *gentle])
        return damage, self._dice.choice(POINTS["apply"])

    def _disturbed(self, damage: Damage, point: str) -> tuple[int, str]:
        """An apply with a fault: all servers end in a plan that they had or were to have."""
        servers = [self._dice.choice(self._arena.names)]
        digests = {self._digest("old"), self._digest("new")}
        verb = self._arena.damaged(self._arena.arguments("apply", spec="new"), point, damage, servers)
        self._arena.fire_timers()
        found = self._arena.all_shown()
        odd = [name for name, state in found.items() if state["differs"] != "[]"]
        if odd:
            return int(verb.code or 0), f"{odd} differ from their own configuration"
        plans = {self._arena.digest(name) for name in self._arena.names}
        return int(verb.code or 0), "" if plans <= digests else f"plans {plans}, expected of {digests}"

    def _digest(self, name: str) -> str:
        from rbops.planner import load_plan

        return load_plan(self._arena.specs[name]).digest

    def _planned(self, name: str) -> str:
        """Apply without a fault; what is not as planned afterwards."""
        done = self._arena.run("apply", spec=name)
        if done.code:
            return f"apply: exit {done.code}: {done.output[-600:]}"
        compared = self._arena.run("diff", spec=name)
        return "" if compared.code == 0 else f"diff: {compared.output[-600:]}"


def _lossy(change: Change) -> Change:
    return Change(**{**asdict(change), "wrong": f"{change.lost} packets were lost, and diff said: {change.called}"})


def table(day: str, command: str, minutes: float, done: Sequence[Change]) -> str:
    """The figures of a soak for the documentation; ``minutes``: when it was to end in any case, inf for never."""
    limit = "" if minutes == inf else f", at most {minutes:g} minutes"
    kinds = Counter(change.what for change in done)
    faults = Counter(change.fault.partition(" ")[0] for change in done if change.fault)
    wrong = [change for change in done if change.wrong]
    lines = [
        f"Last run: {day}, `{command}`{limit}: {len(done)} changes.",
        "",
        "| | |",
        "| --- | --- |",
        f"| changes of | {', '.join(f'{name} {number}' for name, number in sorted(kinds.items()))} |",
        f"| with a fault | {sum(faults.values())}: {', '.join(f'{n} {c}' for n, c in sorted(faults.items())) or '-'} |",
        *_losses(done),
        f"| ended otherwise than planned | {len(wrong)} |",
    ]
    return "\n".join(lines) + "\n"


def _losses(done: Sequence[Change]) -> Iterator[str]:
    """A row for each word of diff; servers that hung apart: nothing promises that packets go through them."""
    groups = {f'diff: "{word}"': [change for change in done if change.called is word] for word in Effect}
    for name, group in groups.items():
        hung = [change for change in group if _HANGS in change.fault]
        counted = [change for change in group if change not in hung]
        sent, lost = (sum(getattr(change, word) for change in counted) for word in ("sent", "lost"))
        if group:
            apart = (
                f"; {sum(change.lost for change in hung)} lost in {len(hung)} with a server that hung" if hung else ""
            )
            yield f"| {name} | {len(group)}: {sent:,} packets sent meanwhile, {lost} lost{apart} |"
