"""A cluster that gets a server more, and one fewer, under traffic; and what is left when that fails in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.apply import Acceptance, Applied, ApplyOptions, apply
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.stop import Stop
from rbops.errors import ApplyFailed
from rbops.lab.model import Lab
from rbops.planner import load_plan
from tests.deploy.serverstate import inside, state
from tests.deploy.test_apply_lab import wait_for
from tests.faults.arena import differences
from tests.faults.soak.stream import streaming
from tests.support.errors import raises
from tests.support.lab import MakeLab

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

# Every packet takes the next intermediate: one that is used too early, or too late, loses its share.
SPEC = """\
name: rbgrow
router: {{external_ports: {servers}, line_rate: 1Gbps}}
servers: {{profile: lab}}
interconnect: {{routing: vlb, flowlet_timeout: 0}}
"""
NAME = "rbt-growth"
OLD = ("n0", "n1", "n2")


class Steps(Silent):
    """Requests the stop, or breaks something, when a step begins; keeps what is said."""

    def __init__(self, stop: Stop, at: str = "") -> None:
        self.stop, self.at = stop, at
        self.steps: list[str] = []
        self.warned: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)
        if self.at and text.startswith(self.at):
            self.stop.request(signal.SIGINT)

    def warn(self, text: str) -> None:
        self.warned.append(text)


def _spec(folder: Path, servers: int) -> Path:
    path = folder / f"{servers}.yml"
    path.write_text(SPEC.format(servers=servers), encoding="utf-8")
    return path


@dataclass
class Growing:
    """A lab of four servers, of which three are the cluster."""

    lab: Lab
    folder: Path

    def apply(self, servers: int, at: str = "", acceptance: Acceptance | None = None) -> tuple[Applied, Steps]:
        stop = Stop()
        steps = Steps(stop, at)
        inventory = load_inventory(self.lab.inventory)
        return apply(load_plan(_spec(self.folder, servers)), inventory, ApplyOptions(), steps, stop, acceptance), steps

    def dataplane(self, server: str) -> Any:
        return json.loads(inside(self.lab, server, "rbops-node", "status", "--json"))["dataplane"]

    def received(self, server: str) -> int:
        """At its external ports, by its counters."""
        found = json.loads(inside(self.lab, server, "rbops-node", "counters", "--json"))["total"]["received"]
        return int(found["external"])

    def sent_through(self, server: str, via: int) -> int:
        """Packets of a server that an intermediate was chosen for."""
        paths = json.loads(inside(self.lab, server, "rbops-node", "counters", "--json"))["paths"]
        return sum(path["packets"] for path in paths if path["via"] == via)

    def states(self) -> dict[str, dict[str, Any]]:
        found = {server.name: state(self.lab, server.name) for server in self.lab.servers}
        for links in (server["links"] for server in found.values()):
            for link in links.values():
                # A veth's TSO is gone while its far end has an XDP program, and is not the server's to bring back.
                link.pop("offloads")
        return found

    def reaches(self, one: int, other: int) -> bool:
        command = self.lab.command(f"t{one}", ("ping", "-c", "1", "-W", "1", f"198.18.{other}.2"))
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def are(self, before: dict[str, dict[str, Any]]) -> None:
        """A revert does not wait for the services that it starts again."""
        found: dict[str, dict[str, Any]] = {}

        def same() -> bool:
            found.update(self.states())
            return found == before

        with suppress(AssertionError):
            wait_for("the servers are as before", same, 30)
        assert {name: differences(before[name], now) for name, now in found.items() if now != before[name]} == {}

    @contextmanager
    def nothing_lost(self) -> Iterator[None]:
        """Between the external ports that stay, each of which sends and receives."""
        with ExitStack() as stack:
            ends = [(self.lab.tester_netns(one), self.lab.tester_netns(other), other) for one, other in RING]
            streams = [stack.enter_context(streaming(one, other, f"198.18.{port}.2")) for one, other, port in ends]
            yield
            wait_for("packets on their way", lambda: all(stream.mark() > 100 for stream in streams))
            found = [stream.lost(0) for stream in streams]
        assert [gone for _, gone in found] == [0, 0, 0], found


RING = ((0, 1), (1, 2), (2, 0))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory, runs: Path, make_lab: MakeLab) -> Growing:
    del runs
    folder = tmp_path_factory.mktemp("growth")
    made = Growing(make_lab(load_plan(_spec(folder, 4)), NAME), folder)
    made.apply(3)
    settled(made, 3)
    return made


def settled(growing: Growing, servers: int) -> None:
    """All cables answer, and each tester knows its gateway."""
    names = [f"n{index}" for index in range(servers)]
    wait_for("all cables to answer", lambda: not any(growing.dataplane(name)["dead"] for name in names), 120)
    for one, other in RING:
        wait_for(f"a path from port {one}", lambda one=one, other=other: growing.reaches(one, other), 60)  # type: ignore[misc]


@pytest.mark.parametrize("at", ["pushing to the newcomers first", "pushing"])
def test_interrupted_in_any_phase_all_are_as_before(growing: Growing, at: str) -> None:
    before = growing.states()
    with growing.nothing_lost(), raises(ApplyFailed, "apply.rolled-back"):
        growing.apply(4, at)
    growing.are(before)
    assert [growing.dataplane(name)["drained"] for name in OLD] == [[], [], []]


def test_a_newcomer_comes_first_and_is_used_last(growing: Growing) -> None:
    inside(growing.lab, "n0", "rbops-node", "drain", "2")
    counted = growing.received("n0")
    assert counted > 0
    with growing.nothing_lost():
        done, steps = growing.apply(4)
    assert growing.received("n0") > counted, "counters go on"
    assert min(done.changed.values()) > 0
    order = [steps.steps.index(text) for text in ("pushing to the newcomers first: n3", "pushing")]
    assert order == sorted(order)
    drained = [growing.dataplane(name)["drained"] for name in (*OLD, "n3")]
    assert drained == [[2], [], [], []], "an operator's drain stays"
    inside(growing.lab, "n0", "rbops-node", "undrain", "2")
    settled(growing, 4)
    sent = growing.sent_through("n0", 3)
    with growing.nothing_lost():
        wait_for("it is used", lambda: growing.sent_through("n0", 3) > sent, 30)


def test_a_smaller_cluster_that_is_rolled_back_loses_nothing(growing: Growing) -> None:
    """A server that was to go is used again when all know it again."""
    before = growing.states()
    with growing.nothing_lost(), raises(ApplyFailed, "apply.rolled-back"):
        growing.apply(3, "reading back")
    growing.are(before)
    assert [growing.dataplane(name)["drained"] for name in (*OLD, "n3")] == [[], [], [], []]
    sent = growing.sent_through("n0", 3)
    with growing.nothing_lost():
        wait_for("it is used", lambda: growing.sent_through("n0", 3) > sent, 30)


def test_a_server_that_goes_is_drained_before(growing: Growing) -> None:
    before, counted = state(growing.lab, "n3")["files"], growing.received("n0")
    with growing.nothing_lost():
        done, steps = growing.apply(3)
    assert growing.received("n0") > counted
    assert done.gone == ("n3",)
    assert "rbops remove -i INVENTORY --limit n3" in steps.warned[-1]
    assert state(growing.lab, "n3")["files"] == before
    assert [growing.dataplane(name)["drained"] for name in OLD] == [[], [], []]
