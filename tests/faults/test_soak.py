"""A short soak; ``make soak`` has a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.arena import Arena
from tests.faults.soak.run import Soak, table
from tests.faults.soak.stream import streaming

pytestmark = [pytest.mark.lab, pytest.mark.root]

_CHANGES = 4


def test_random_changes_end_as_planned_and_hitless_ones_lose_no_packet(arena: Arena, tmp_path: Path) -> None:
    specs = {name: tmp_path / f"{name}.yml" for name in ("old", "new")}
    own = Arena(arena.lab, specs)
    arena.present = None
    with streaming(arena.lab.tester_netns(0), arena.lab.tester_netns(1), "198.18.1.2") as stream:
        done = Soak(own, stream, seed=7).run(_CHANGES, tmp_path / "log.jsonl", print)
    assert [change for change in done if change.wrong] == []
    assert len(done) == _CHANGES
    assert "called hitless" in table("today", "a test", 5, done)
