"""One fault in one change of a whole router: every server ends as before or as planned, or is named with exit 6.

The verdict is of state that is read from the servers: files, kernel, programs, and their comparison with the plan.
What a change leaves is where the next one starts, so each shows that the one before left the servers clean.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest

from tests.deploy.serverstate import inside
from tests.faults.arena import Arena
from tests.faults.cases import POINTS, POINTS_FILE, SAMPLE, VERBS, Case, cases
from tests.faults.growing import GROWTH, Growing

pytestmark = [pytest.mark.lab, pytest.mark.root]

_STARTS = {"first": ("fresh",), "remove": ("old", "new")}
_MORE = {"n2", "n3"}
"""Servers of a larger lab: each is as n1 is."""
_REBOOT = "echo linux-image-amd64 > /run/reboot-required.pkgs; touch /run/reboot-required"


def command(arena: Arena, verb: str) -> tuple[list[str], tuple[str, str]]:
    """The arguments of a verb from the state that the servers are in, or are brought to; and its two ends."""
    if verb in GROWTH:
        was, planned = GROWTH[verb]
        arena.settle(was)
        return arena.arguments("apply", spec="new" if planned == "new" else "old"), (was, planned)
    now = arena.settle(*_STARTS.get(verb, ("old", "new")))
    other = "new" if now == "old" else "old"
    if verb == "remove":
        return arena.arguments("remove"), (now, "fresh")
    if verb == "rollback":
        return arena.arguments("rollback"), (now, other)
    if verb == "reboot":
        inside(arena.lab, "n1", "sh", "-c", _REBOOT)
        return arena.arguments("apply", "--reboot", "--reboot-timeout", "60", spec=now), (now, now)
    to = "old" if verb == "first" else other
    return arena.arguments("apply", *(["--serial", "1"] if verb == "serial" else []), spec=to), (now, to)


def freed(arena: Arena, spec: str) -> None:
    """What a killed rbops has locked ahead of the servers' changes is taken over by who says so, and by nobody else."""
    found = arena.run("apply", spec=spec)
    assert found.code in {0, 7}, found.output
    if found.code == 7:
        assert "--break-lock" in found.output
        assert arena.run("apply", "--break-lock", spec=spec).code == 0


def prepared(arena: Arena) -> None:
    """Each state is known, and both configurations are on the servers for a rollback."""
    for name in ("old", "new", *(["left"] if isinstance(arena, Growing) else [])):
        if name not in arena.known:
            arena.settle(name)


@pytest.fixture
def lab_of(request: pytest.FixtureRequest) -> Callable[[str], Arena]:
    """The lab of a verb."""
    return lambda verb: cast("Arena", request.getfixturevalue("growing" if verb in GROWTH else "arena"))


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=[] if verb in {"first", "apply"} else [pytest.mark.faults]) for verb in VERBS]
)
def test_points(lab_of: Callable[[str], Arena], verb: str, request: pytest.FixtureRequest) -> None:
    """Those that the matrix is made of are those that a verb passes. ``--update-golden`` writes them."""
    arena = lab_of(verb)
    if verb != "first":
        prepared(arena)
    arguments, (_, new) = command(arena, verb)
    done = arena.undisturbed(arguments)
    assert done.code == 0, done.output
    more = set[str]() if verb in GROWTH else _MORE
    passed = sorted(point for point in set(done.passed) if not more & set(point.split("/")))
    arena.present = None
    if verb == "first":
        arena.settle(new)
    assert arena.which() == new
    if request.config.getoption("--update-golden"):
        known = json.loads(POINTS_FILE.read_text(encoding="utf-8"))
        POINTS_FILE.write_text(json.dumps({**known, verb: passed}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert passed == sorted(POINTS.get(verb, [])) or request.config.getoption("--update-golden")


def _parameters() -> list[object]:
    marks = {True: [], False: [pytest.mark.faults]}
    return [pytest.param(case, id=str(case), marks=marks[str(case) in SAMPLE]) for case in cases()]


@pytest.mark.parametrize("case", _parameters())
def test_fault(lab_of: Callable[[str], Arena], case: Case) -> None:
    arena = lab_of(case.verb)
    prepared(arena)
    arguments, ends = command(arena, case.verb)
    one = "n2" if case.verb == "grow" else "n1"
    servers = [] if not case.role else arena.names if case.role == "all" else [one]
    try:
        outcome = arena.strike(arguments, case.point, case.damage, servers, ends)
        assert outcome.wrong() is None, f"{outcome.wrong()}\n{outcome}"
        assert outcome.hit, str(outcome)
        if set(outcome.verdicts.values()) == {"old", "new"} and case.verb not in GROWTH:
            assert "the servers have different plans" in arena.run("history").output
        if case.verb in {"reboot", "serial"} and outcome.code < 0:
            freed(arena, arena.present or ends[1])
    except BaseException:
        arena.rescue()
        raise
