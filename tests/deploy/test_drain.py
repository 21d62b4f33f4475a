"""Which servers a drain would cut off; who is told, and what is undone when one of them does not do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rbops.deploy import drain as module
from rbops.deploy.drain import State, cut_off, drain
from rbops.errors import CheckFailed, Mismatch, Unreachable, UsageError
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from tests.support.errors import raises

SPEC = "name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n"


def rb4(folder: Path, more: str = "") -> ClusterPlan:
    path = folder / "rb4.yml"
    path.write_text(SPEC + more)
    return load_plan(path)


def test_a_whole_mesh_can_do_without_any_one(tmp_path: Path) -> None:
    plan = rb4(tmp_path)
    assert [cut_off(plan, name, {}) for name in ("n0", "n1", "n2", "n3")] == [[]] * 4


def test_a_cable_that_is_dead_needs_an_intermediate(tmp_path: Path) -> None:
    plan = rb4(tmp_path)
    states = {"n0": State(dead=frozenset({3})), "n3": State(dead=frozenset({0}))}
    assert cut_off(plan, "n1", states) == []
    states["n0"] = State(dead=frozenset({3}), drained=frozenset({2}))
    assert cut_off(plan, "n1", states) == [("n0", "n3")]
    assert cut_off(plan, "n3", states) == [], "its own ports are not what it is drained of"
    states = {"n0": State(dead=frozenset({3})), "n2": State(dead=frozenset({3})), "n3": State(dead=frozenset({0, 2}))}
    assert ("n0", "n3") in cut_off(plan, "n1", states)


FLY = """\
name: fly
router: {external_ports: 4, line_rate: 1Gbps, traffic: uniform}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 2
    clock: 3GHz
    nics: [{driver: veth, ports: 5, port_rate: 1Gbps, queues: 2}]
interconnect: {topology: fly}
ports: [{id: 0, server: n0}, {id: 1, server: n1}, {id: 2, server: n2}, {id: 3, server: n3}]
"""


def test_in_a_fly_servers_reach_each_other_without_a_cable(tmp_path: Path) -> None:
    path = tmp_path / "fly.yml"
    path.write_text(FLY)
    plan = load_plan(path)
    assert plan.topology.kind == "fly"
    assert [cut_off(plan, f"n{index}", {}) for index in range(4)] == [[]] * 4
    states = {"n0": State(dead=frozenset({3})), "n3": State(dead=frozenset({0}))}
    assert cut_off(plan, "n1", states) == []
    states["n0"] = State(dead=frozenset({3}), drained=frozenset({2}))
    assert cut_off(plan, "n1", states) == [("n0", "n3")]


def test_a_server_between_others_is_nobodys_choice(tmp_path: Path, servers: Servers) -> None:
    path = tmp_path / "fly.yml"
    path.write_text(FLY)
    with raises(Mismatch, "drain.on-the-way"):
        run(load_plan(path), "n5", names=tuple(f"n{index}" for index in range(8)))
    assert servers.calls == []


class Servers:
    """What the servers answer; ``calls`` are those that change something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.status: dict[str, dict[str, Any]] = {}
        self.moving = 0
        self.packets = 0
        self.fails: str | None = None
        monkeypatch.setattr(module, "_LOOK_S", 0)
        monkeypatch.setattr(module, "_QUIET_S", 0.05)
        monkeypatch.setattr(module, "open_session", self._open)
        monkeypatch.setattr(module, "RemoteNode", lambda session: session)
        monkeypatch.setattr(module, "each", self._each)

    def _open(self, target: Any) -> Any:
        servers, name = self, target.name

        class Node(module.Session):  # type: ignore[misc]
            def __init__(self) -> None:
                return

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                return

            def call(self, verb: str, *arguments: str) -> Any:
                return servers.answer(name, verb, *arguments)

        return Node()

    def _each(self, items: Any, action: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in items:
            try:
                found[name] = action(item)
            except (CheckFailed, Unreachable) as error:
                found[name] = error
        return found

    def answer(self, name: str, verb: str, *arguments: str) -> Any:
        if verb == "status":
            return {"dataplane": self.status.get(name, {"dead": [], "drained": []})}
        if verb == "counters":
            self.packets += self.moving
            return {"paths": [{"to": 3, "via": 1, "packets": self.packets}, {"to": 3, "via": None, "packets": 7}]}
        if name == self.fails and verb == "drain":
            raise CheckFailed("no", code="test.no")
        self.calls.append((name, verb, *arguments))  # type: ignore[arg-type]
        return {}


class Chosen:
    """An inventory."""

    def __init__(self, *names: str) -> None:
        self.servers = [type("Target", (), {"name": name})() for name in names]

    def matching(self, plan: ClusterPlan) -> Chosen:
        del plan
        return self


ALL = ("n0", "n1", "n2", "n3")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch)


def run(plan: ClusterPlan, name: str, *, drained: bool = True, names: tuple[str, ...] = ALL) -> Any:
    inventory: Any = Chosen(*names)
    return drain(plan, inventory, name, drained=drained)


def test_all_others_are_told(tmp_path: Path, servers: Servers) -> None:
    done = run(rb4(tmp_path), "n1")
    assert servers.calls == [(name, "drain", "1") for name in ("n0", "n2", "n3")]
    assert (done.told, done.already) == (("n0", "n2", "n3"), False)
    servers.status = {name: {"dead": [], "drained": [1]} for name in ALL}
    assert run(rb4(tmp_path), "n1").already
    assert run(rb4(tmp_path), "n1", drained=False).already is False
    assert servers.calls[-1] == ("n3", "undrain", "1")


def test_a_run_says_that_it_is_its_own(tmp_path: Path, servers: Servers) -> None:
    inventory: Any = Chosen(*ALL)
    drain(rb4(tmp_path), inventory, "n1", drained=True, run="r1")
    assert servers.calls[-1] == ("n3", "drain", "1", "--run", "r1")


def test_who_would_be_cut_off_is_named_and_nothing_changes(tmp_path: Path, servers: Servers) -> None:
    servers.status = {"n0": {"dead": [3], "drained": [2]}, "n3": {"dead": [0], "drained": []}}
    with pytest.raises(Mismatch, match="without n1 no path is left from n0 to n3"):
        run(rb4(tmp_path), "n1")
    assert servers.calls == []


def test_all_or_none(tmp_path: Path, servers: Servers) -> None:
    servers.fails = "n2"
    with pytest.raises(CheckFailed):
        run(rb4(tmp_path), "n1")
    assert [call for call in servers.calls if call[1] == "undrain"] == [("n0", "undrain", "1"), ("n3", "undrain", "1")]


def test_packets_that_still_pass_are_told(tmp_path: Path, servers: Servers) -> None:
    servers.moving = 1
    with pytest.raises(CheckFailed, match="packets a second still go through it"):
        run(rb4(tmp_path), "n1")


def test_wrong_input(tmp_path: Path, servers: Servers) -> None:
    with pytest.raises(UsageError, match="no server 'n9' in the plan"):
        run(rb4(tmp_path), "n9")
    with pytest.raises(UsageError, match="every other server must be told: n2, n3 not chosen"):
        run(rb4(tmp_path), "n1", names=("n0", "n1"))
    with pytest.raises(Mismatch, match="cannot leave a server out"):
        run(rb4(tmp_path, "dataplane: kernel\n"), "n1")
    assert servers.calls == []
