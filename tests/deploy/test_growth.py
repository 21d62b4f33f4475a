"""Who is a newcomer, who goes, and what is told to those that stay before anything is pushed."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.deploy import drain, growth
from rbops.deploy.growth import resize
from rbops.deploy.probe import Probe
from rbops.deploy.report import Silent
from rbops.errors import Mismatch
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from tests.support.errors import raises


def planned(folder: Path, servers: int) -> ClusterPlan:
    path = folder / "rb.yml"
    path.write_text(f"name: rb\nrouter: {{external_ports: {servers}, line_rate: 10Gbps}}\nservers: {{profile: lab}}\n")
    return load_plan(path)


def found(name: str, servers: int | None, index: int | None = None) -> Probe:
    """A server of a mesh of so many; None: one that has nothing of rbops."""
    facts: tuple[Any, ...] = (name, "m", "b", "6.1", "3.11", 1.0)
    if servers is None:
        return Probe(*facts, None, None, None, {})
    own = int(name[1:]) if index is None else index
    peers = {f"n{number}": number for number in range(servers) if number != own}
    return Probe(*facts, "rb", name, "d", {}, own, servers, peers)


class Warned(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


def of(*probes: Probe) -> dict[str, Probe]:
    return {probe.name: probe for probe in probes}


def test_a_newcomer_and_one_that_goes(tmp_path: Path) -> None:
    old = of(found("n0", 3), found("n1", 3), found("n2", 3))
    grown = resize(planned(tmp_path, 4), {**old, **of(found("n3", None))}, Warned())
    assert grown is not None
    assert (grown.newcomers, grown.others, grown.gone) == (("n3",), ("n0", "n1", "n2"), {})
    shrunk = resize(planned(tmp_path, 2), of(found("n0", 3), found("n1", 3)), Warned())
    assert shrunk is not None
    assert (shrunk.newcomers, shrunk.others, shrunk.gone) == ((), ("n0", "n1"), {"n2": 2})


def test_anything_else_is_no_change_of_size(tmp_path: Path) -> None:
    plan, warned = planned(tmp_path, 3), Warned()
    assert resize(plan, of(found("n0", 3), found("n1", 3), found("n2", 3)), warned) is None
    assert resize(plan, of(*(found(name, None) for name in ("n0", "n1", "n2"))), warned) is None
    assert warned.said == []
    assert resize(plan, of(found("n0", 2, 1), found("n1", 2, 0), found("n2", None)), warned) is None
    assert "other numbers" in warned.said.pop()
    assert resize(plan, of(found("n0", 2), found("n2", None)), warned) is None
    assert "--limit" in warned.said.pop()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, tuple[str, ...]]]:
    made: list[tuple[list[str], str, tuple[str, ...]]] = []

    def called(sessions: dict[str, Any], _node: Any, verb: str, *arguments: str) -> dict[str, Any]:
        made.append((sorted(sessions), verb, arguments))
        return {name: {"dataplane": {"dead": [], "drained": []}} for name in sessions}

    monkeypatch.setattr(growth, "_called", called)
    monkeypatch.setattr(drain, "_all", lambda sessions, verb: called(sessions, None, verb))
    monkeypatch.setattr(growth, "still", lambda sessions, name, index: made.append((sorted(sessions), name, (index,))))
    return made


def change(*names: str) -> Any:
    run = SimpleNamespace(id="r")
    return SimpleNamespace(sessions=dict.fromkeys(names), run=run, node=None, kept_open=nullcontext)


def test_newcomers_are_held_then_used_and_not_any_more_when_it_fails(tmp_path: Path, calls: list[Any]) -> None:
    size = resize(planned(tmp_path, 3), of(found("n0", 2), found("n1", 2), found("n2", None)), Warned())
    assert size is not None
    size.prepare(change("n0", "n1", "n2"), Silent())
    assert calls == [(["n0", "n1"], "hold", ("--run", "r", "--servers", "3", "2"))]
    calls.clear()
    with suppress(KeyboardInterrupt), size.opened(change("n0", "n1", "n2"), Silent()):
        assert calls[-1] == (["n0", "n1"], "undrain", ("2",))
        raise KeyboardInterrupt
    assert calls[-1] == (["n0", "n1"], "drain", ("--run", "r", "2"))


def test_one_that_goes_is_drained_first_or_refused(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = resize(planned(tmp_path, 2), of(found("n0", 3), found("n1", 3)), Warned())
    assert size is not None
    size.refuse({"n0": None, "n1": None})  # type: ignore[dict-item]
    calls.clear()
    size.prepare(change("n0", "n1"), Silent())
    hold = (["n0", "n1"], "hold", ("--run", "r", "--servers", "2"))
    assert calls == [hold, (["n0", "n1"], "drain", ("--run", "r", "2")), (["n0", "n1"], "n2", (2,))]
    planes = {"n0": {"dataplane": {"dead": [1]}}, "n1": {"dataplane": {"dead": [0]}}}
    monkeypatch.setattr(drain, "_all", lambda *_: planes)
    monkeypatch.setattr(growth, "_BACK_S", 0)
    with raises(Mismatch, "apply.cuts-off"):
        size.refuse({"n0": None, "n1": None})  # type: ignore[dict-item]
    # The cable has only just begun to answer.
    answers = iter([planes, {"n0": {"dataplane": {"dead": []}}, "n1": {"dataplane": {"dead": []}}}])
    monkeypatch.setattr(drain, "_all", lambda *_: next(answers))
    monkeypatch.setattr(growth, "_BACK_S", 30)
    size.refuse({"n0": None, "n1": None})  # type: ignore[dict-item]
