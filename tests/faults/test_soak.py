"""A short soak; ``make soak`` has a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.deploy.effect import Effect
from tests.faults.arena import Arena
from tests.faults.soak.run import Change, Soak, table
from tests.faults.soak.stream import streaming

_CHANGES = 4


def _change(*effects: str, fault: str = "", lost: int = 0) -> Change:
    return Change(1, "routes", effects, fault, 0, 100, lost, "", 1.0)


def test_what_diff_said_decides_what_may_be_lost() -> None:
    """In diff's own words: the worst of a change counts, and only a reset or a reboot may lose packets."""
    said = {
        (): (Effect.HITLESS, True),
        ("hitless",): (Effect.HITLESS, True),
        ("hitless", "moves traffic"): (Effect.MOVES, True),
        ("moves traffic", "resets the port"): (Effect.RESETS, False),
        ("hitless", "needs a reboot"): (Effect.REBOOT, False),
    }
    assert {effects: (_change(*effects).called, _change(*effects).lossless) for effects in said} == said
    assert not _change("hitless", fault="hang node/open/n1/after").lossless


def test_losses_are_counted_by_the_word() -> None:
    hung = _change("hitless", fault="hang x", lost=30)
    text = table("today", "a test", 5, [_change("hitless"), hung, _change("resets the port", lost=7)])
    assert '| diff: "hitless" | 2: 100 packets sent meanwhile, 0 lost; 30 lost in 1 with a server that hung |' in text
    assert '| diff: "resets the port" | 1: 100 packets sent meanwhile, 7 lost |' in text


@pytest.mark.lab
@pytest.mark.root
def test_random_changes_end_as_planned_and_hitless_ones_lose_no_packet(arena: Arena, tmp_path: Path) -> None:
    specs = {name: tmp_path / f"{name}.yml" for name in ("old", "new")}
    own = Arena(arena.lab, specs)
    arena.present = None
    with streaming(arena.lab.tester_netns(0), arena.lab.tester_netns(1), "198.18.1.2") as stream:
        done = Soak(own, stream, seed=7).run(_CHANGES, tmp_path / "log.jsonl", print)
    assert [change for change in done if change.wrong] == []
    assert len(done) == _CHANGES
    assert 'diff: "hitless"' in table("today", "a test", 5, done)
