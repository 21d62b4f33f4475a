"""Rates between two readings of servers, and the live view of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rbops.deploy.live import Answer, Poller
from rbops.deploy.ssh import Target
from rbops.errors import Unreachable
from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.report.live import rates
from rbops.report.live_view import PARTS, live_blocks
from rbops.report.tables import plain
from rbops.spec import load_spec
from tests.node.test_exporter import READING


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> ClusterPlan:
    path = tmp_path_factory.mktemp("spec") / "rb4.yml"
    path.write_text("name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n")
    return plan_spec(load_spec(path))


def at(seconds: float, **counts: int) -> dict[str, Any]:
    """A reading so long after the start; ``counts`` are added to each number of that name."""
    reading = json.loads(json.dumps({**READING, "at_s": seconds}))
    core = reading["counters"]["cores"]["1"]
    reading["counters"]["total"] = {key: dict(core[key]) for key in ("received", "forwarded", "punted", "dropped")}

    def grow(value: Any) -> None:
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in list(entries):
            if key in counts and isinstance(one, (int, float)):
                value[key] = one + counts[key]
            else:
                grow(one)

    grow(reading)
    return reading


def test_rates(plan: ClusterPlan) -> None:
    old = at(10.0)
    new = at(12.0, rx_packets=400, rx_bytes=4000, external=20, checksum=6, busy_s=1, packets=30)
    new["queues"]["ports"]["ext0"]["packets"]["0"] += 50
    new["queues"]["ports"]["ext0"]["irqs"][0]["cpus"] = {"1": 6, "2": 1}
    found = rates(plan, {"n0": old}, [Answer("n0", new)])
    port = found["ports"][1]
    assert (port["port"], port["rx_pps"], port["rx_bps"], port["rx_share"]) == ("int1", 200.0, 16000.0, 2.0)
    assert (port["tx_pps"], port["tx_bps"]) == (0.0, 0.0)
    server = found["servers"][0]
    assert (server["state"], server["received_pps"], server["dropped_pps"]) == ("forwards", 10.0, 3.0)
    assert (server["dead"], server["seconds"]) == (["n1"], 2.0)
    core = found["cores"][0]
    assert (core["core"], core["received_pps"], core["dropped_pps"], core["busy"]) == (1, 10.0, 3.0, 0.5)
    assert [(row["queue"], row["rx_pps"], row["cores"]) for row in found["queues"]] == [(0, 25.0, [2])]
    assert [(row["reason"], row["pps"], row["total"]) for row in found["reasons"]] == [
        ("checksum", 3.0, 10),
        ("ttl", 0.0, 1),
    ]
    assert found["paths"] == [{"server": "n0", "to": "n1", "pps": 30.0, "shares": {"direct": 0.5, "7": 0.5}}]


def test_a_counter_that_began_anew_counts_from_zero(plan: ClusterPlan) -> None:
    found = rates(plan, {"n0": at(10.0, rx_packets=1000)}, [Answer("n0", at(11.0))])
    assert found["ports"][0]["rx_pps"] == 3.0


def test_who_does_not_answer_has_a_row(plan: ClusterPlan) -> None:
    lost = Answer("n1", error=Unreachable("n1: no answer", code="ssh.no-answer"))
    unloaded = Answer(
        "n2", {**at(1.0), "server": "n2", "counters": None, "dataplane": {"loaded": False, "kind": "xdp"}}
    )
    found = rates(plan, {}, [Answer("n0"), lost, unloaded])
    states = [(row["server"], row["state"]) for row in found["servers"]]
    assert states == [("n0", "no answer"), ("n1", "not readable"), ("n2", "not loaded")]
    assert "not readable: n1: no answer" in plain(live_blocks(plan, found, "12:00:00"))


def test_the_view(plan: ClusterPlan) -> None:
    found = rates(plan, {"n0": at(10.0)}, [Answer("n0", at(11.0, rx_packets=1500, rx_bytes=96000, packets=10))])
    text = plain(live_blocks(plan, found, "12:00:00"))
    assert text.startswith("rb4  12:00:00  in 1,500 packets/s, 0.768 Mbps")
    for title in ("Servers", "External ports", "Cables", "Paths", "Cores", "Queues", "Dropped, and given", "Sessions"):
        assert f"\n{title}" in text
    only = plain(live_blocks(plan, found, "12:00:00", ("paths",)))
    assert only.count("\n\n") == 1
    assert set(PARTS) >= {"paths"}


class Login:
    """A session that answers with what it was given, one after the other."""

    def __init__(self, target: Target, said: list[Any]) -> None:
        self.target, self._said, self.closed = target, said, False

    def start(self, argv: Any, timeout: float) -> Login:
        """`rbops-node serve`: the session is its own conversation."""
        del argv, timeout
        return self

    def send(self, line: str) -> None:
        assert json.loads(line)["argv"] == ["sample", "--json"]

    def receive(self, timeout: float) -> str:
        del timeout
        one = self._said.pop(0)
        if isinstance(one, Exception):
            raise one
        return json.dumps({"code": 0, "out": one, "err": ""})

    def close(self) -> None:
        self.closed = True


def test_a_connection_that_breaks_is_made_again() -> None:
    made: list[Login] = []
    lost = Unreachable("gone", code="ssh.connection-lost")
    said: list[Any] = ['{"a": 1}', lost, '{"a": 2}']

    def connect(target: Target) -> Any:
        made.append(Login(target, said))
        return made[-1]

    poller = Poller([Target("n0", "host")], connect)
    try:
        assert poller.round(60) == [Answer("n0", {"a": 1})]
        assert poller.round(60)[0].error is lost
        # Not at once: a server that is gone is not asked again and again.
        assert poller.round(60)[0].error is lost
        assert len(made) == 1
        assert made[0].closed
    finally:
        poller.close()
