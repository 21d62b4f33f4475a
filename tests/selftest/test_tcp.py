"""The TCP phase: what it asks iperf3 for, what it makes of the counters, and what it says where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.report.selftest import selftest_blocks, selftest_junit
from rbops.report.tables import plain
from rbops.selftest import iperf
from rbops.selftest.phases import choose, tcp, usual
from rbops.selftest.result import SelftestResult
from rbops.selftest.session import Session
from rbops.selftest.tcprun import TcpRun
from tests.support.errors import raises


class FakeAgent:
    """A tester whose kernel counts on by what a test says at each reading; ``error`` is what sending ends with."""

    def __init__(self, *, error: Exception | None = None, **grows: int) -> None:
        self.error, self.grows = error, grows
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.read = 0

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append((operation, arguments))
        if operation == "tcp_counters":
            self.read += 1
            return {name: value * self.read for name, value in self.grows.items()}
        if operation == "tcp_send":
            if self.error:
                raise self.error
            return {"seconds": 3.0, "rate_bps": 1e9, "retransmitted": 7}
        return {}


def rb4(tmp_path: Path) -> ClusterPlan:
    path = tmp_path / "rb4.yml"
    path.write_text("name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n")
    return load_plan(path)


def made(plan: ClusterPlan, agents: list[FakeAgent], tcp_bps: float | None = None) -> Session:
    testers = [
        SimpleNamespace(
            index=number,
            at=SimpleNamespace(server=server.name, port=number, address=f"198.18.{number}.2", rate_bps=10**10),
        )
        for number, server in enumerate(plan.servers)
    ]
    bench: Any = SimpleNamespace(family=4, testers=testers, agents=SimpleNamespace(all=agents))
    options: Any = SimpleNamespace(tcp_bps=tcp_bps)
    return Session(plan, bench, options, None, lambda _: None)


def test_rows_are_differences_of_the_two_kernels_counters(tmp_path: Path) -> None:
    agents = [FakeAgent(TCPDSACKRecv=2, TCPDSACKOfoRecv=1), FakeAgent(), FakeAgent(), FakeAgent(InSegs=1000)]
    agents[3].grows["TCPOFOQueue"] = 4
    session = made(rb4(tmp_path), agents)
    tcp.run(session, 0)
    # Two cores share a cable of 10 Gbps; 90 % of that.
    expected = TcpRun(1, 0, 3, 4.5e9, 3.0, 1e9, 7, 3, 1000, 4)
    assert [run.connections for run in session.tcp_runs] == [1, 8, 64]
    assert session.tcp_runs[0] == expected
    assert expected.share == 0.004
    assert session.faults == []
    asked = [arguments for name, arguments in agents[0].calls if name == "tcp_send"]
    assert [one["connections"] for one in asked] == [1, 8, 64]
    assert {(one["address"], one["own"], one["bps"]) for one in asked} == {("198.18.3.2", "198.18.0.2", 4.5e9)}
    assert [name for name, _ in agents[3].calls] == ["tcp_listen", "tcp_counters", "tcp_counters", "tcp_end"] * 3
    assert agents[1].calls == []


def test_the_rate_can_be_said(tmp_path: Path) -> None:
    agents = [FakeAgent(), FakeAgent(), FakeAgent(), FakeAgent(InSegs=1, TCPOFOQueue=0)]
    session = made(rb4(tmp_path), agents, tcp_bps=1e8)
    tcp.run(session, 0)
    assert {run.offered_bps for run in session.tcp_runs} == {1e8}


@pytest.mark.parametrize(
    ("error", "faults"),
    [(Mismatch("iperf3 is not installed", code="test"), 0), (CheckFailed("refused", code="test"), 3)],
)
def test_what_was_not_measured_says_why(tmp_path: Path, error: Exception, faults: int) -> None:
    """Where iperf3 is missing nothing is wrong with the router; a connection that fails is a fault."""
    agents = [FakeAgent(error=error), FakeAgent(), FakeAgent(), FakeAgent()]
    session = made(rb4(tmp_path), agents)
    tcp.run(session, 0)
    assert [run.failure for run in session.tcp_runs] == [str(error)] * 3
    assert len(session.faults) == faults
    assert agents[3].calls[-1][0] == "tcp_end"
    result = SelftestResult(
        "rb4", "d", 1, ((0, "n0"),), (), None, tuple(session.faults), 1.0, tcp_runs=tuple(session.tcp_runs)
    )
    assert plain(selftest_blocks(result)).count(str(error)) == 3 + faults
    skipped = [case for case in selftest_junit(result).cases if case.group == "selftest.tcp"]
    assert [case.skipped for case in skipped] == [str(error)] * 3


def test_it_runs_only_when_it_is_named() -> None:
    assert tcp.NAME not in usual()
    assert [kind.name for kind in choose((tcp.NAME,))] == [tcp.NAME]


def test_sums_of_a_client() -> None:
    end = {"sum_sent": {"retransmits": 3}, "sum_received": {"seconds": 2.5, "bits_per_second": 1e6}}
    assert iperf.summary(json.dumps({"end": end}), "") == {"seconds": 2.5, "rate_bps": 1e6, "retransmitted": 3}


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        ('{"error": "unable to connect to server", "end": {}}', "", "unable to connect to server"),
        ("", "killed", "killed"),
        ("[1]", "", "no result"),
    ],
)
def test_a_client_without_a_result_is_said_in_its_own_words(stdout: str, stderr: str, said: str) -> None:
    with raises(CheckFailed, "tester.iperf") as caught:
        iperf.summary(stdout, stderr)
    assert caught.value.message == f"iperf3: {said}"


def test_counters_of_both_files(tmp_path: Path) -> None:
    (tmp_path / "snmp").write_text("Ip: A\nIp: 1\nTcp: InSegs OutSegs\nTcp: 5 6\n")
    (tmp_path / "netstat").write_text("TcpExt: TCPOFOQueue\nTcpExt: 9\nIpExt: B\nIpExt: 2\n")
    assert iperf.counters(tmp_path) == {"InSegs": 5, "OutSegs": 6, "TCPOFOQueue": 9}


def test_no_iperf3_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iperf.shutil, "which", lambda _: None)
    with raises(Mismatch, "tester.no-iperf"):
        iperf.Iperf().listen("127.0.0.1", 5201)
