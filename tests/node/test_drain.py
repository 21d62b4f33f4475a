"""Servers that are left out: kept, told again, and forgotten with another cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rbops.errors import Mismatch, UsageError
from rbops.node import drain
from rbops.node.state import State
from tests.node.recorded import config, plane


class Plane:
    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def set_drained(self, server: int, *, drained: bool) -> None:
        self.told.append((server, drained))

    def leave_out(self, servers: frozenset[int]) -> None:
        del servers


def change(made: Any, state: State, server: int, *, drained: bool = True, run: str | None = None) -> list[int]:
    return drain.change(made, state, config(), server, drained=drained, run=run)


def test_it_is_kept_and_told_to_a_new_data_plane(tmp_path: Path) -> None:
    state, made = State(tmp_path), Plane()
    assert drain.drained_of(state, config()) == []
    assert change(made, state, 2) == [2]
    assert change(made, state, 1) == [1, 2]
    assert change(made, state, 1) == [1, 2]
    assert change(made, state, 2, drained=False) == [1]
    assert made.told == [(2, True), (1, True), (1, True), (2, False)]
    new = Plane()
    drain.renew(new, state, config())
    assert new.told == [(1, True)]


def test_what_a_run_drained_that_is_gone_is_used_again(tmp_path: Path) -> None:
    state, made = State(tmp_path), Plane()
    change(made, state, 1)
    change(made, state, 2, run="gone")
    assert (drain.by_others(state, "gone"), drain.by_others(state, "other")) == (frozenset(), frozenset({2}))
    drain.release(made, state, config(), "gone")
    assert drain.drained_of(state, config()) == [1, 2]
    drain.release(made, state, config(), "other")
    assert drain.drained_of(state, config()) == [1], "an operator's stays"
    assert made.told[-1] == (2, False)
    change(made, state, 2, run="gone")
    change(made, state, 2)
    assert drain.by_others(state, "other") == frozenset(), "what an operator drains too is the operator's"


def test_another_number_of_servers_begins_without(tmp_path: Path) -> None:
    state = State(tmp_path)
    change(Plane(), state, 2)
    assert drain.drained_of(state, config(dataplane=plane(servers=5))) == []


def test_a_change_of_the_number_of_servers_holds_newcomers_until_its_end(tmp_path: Path) -> None:
    state, made, grown = State(tmp_path), Plane(), config(dataplane=plane(servers=5))
    change(made, state, 2)
    assert drain.hold(made, state, config(), "r", 5, [4]) == [2, 4]
    assert made.told == [(2, True)], "of a cluster that is not there yet nothing is told"
    assert (drain.drained_of(state, config()), drain.drained_of(state, grown)) == ([2], [2, 4])
    drain.change(made, state, grown, 4, drained=False)
    assert drain.drained_of(state, grown) == [2]
    assert not drain.undo(state, "other")
    assert drain.undo(state, "r")
    assert (drain.drained_of(state, config()), drain.drained_of(state, grown)) == ([2], [])
    drain.hold(made, state, config(), "r", 5, [4])
    drain.settle(state, grown)
    assert (drain.drained_of(state, config()), drain.drained_of(state, grown)) == ([], [2, 4])
    assert not drain.undo(state, None), "nothing is held any more"
    drain.hold(made, state, grown, "r", 4, [])
    drain.settle(state, config())
    assert drain.drained_of(state, config()) == [2], "a smaller cluster keeps what of it was left out"
    made.told.clear()
    drain.sync(made, state, config())
    assert made.told == [(1, False), (2, True), (3, False)]


def test_a_rollback_uses_a_server_that_was_to_go_when_its_run_says_so(tmp_path: Path) -> None:
    state, made = State(tmp_path), Plane()
    change(made, state, 2)
    drain.hold(made, state, config(), "r", 3, [])
    change(made, state, 3, run="r")
    assert drain.drained_of(state, config()) == [2, 3]
    assert drain.undo(state, "r", keep=True)
    assert drain.drained_of(state, config()) == [2, 3]
    drain.release(made, state, config(), "")
    assert drain.drained_of(state, config()) == [2], "an operator's stays"
    drain.hold(made, state, config(), "r", 3, [])
    change(made, state, 3, run="r")
    assert drain.undo(state, "r")
    assert drain.drained_of(state, config()) == [2], "a server that goes back by itself waits for nobody"


def test_a_rollback_of_a_larger_cluster_keeps_nothing_of_it(tmp_path: Path) -> None:
    state, made, grown = State(tmp_path), Plane(), config(dataplane=plane(servers=5))
    change(made, state, 2)
    drain.hold(made, state, config(), "r", 5, [4])
    drain.change(made, state, grown, 4, drained=True, run="r")
    assert drain.undo(state, "r", keep=True)
    assert (drain.drained_of(state, config()), drain.drained_of(state, grown)) == ([2], [])


def test_wrong_servers_and_other_data_planes(tmp_path: Path) -> None:
    for server in (-1, 0, 4):
        with pytest.raises(UsageError, match="the index of no other server"):
            change(Plane(), State(tmp_path), server)
    with pytest.raises(Mismatch):
        change(object(), State(tmp_path), 1)
    drain.renew(object(), State(tmp_path), config())
