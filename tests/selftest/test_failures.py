"""What the failures phase breaks, mends and concludes; without servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.errors import CheckFailed
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.report.selftest import _outages
from rbops.report.tables import plain
from rbops.selftest.outage import Outage
from rbops.selftest.phases import choose, failures, usual
from rbops.selftest.session import Session
from rbops.selftest.sizes import sizes_of


def make_session(plan: ClusterPlan, fails: str = "") -> tuple[Any, list[tuple[str, str]]]:
    """A session whose servers keep the commands that they get; one that contains ``fails`` does."""
    said: list[tuple[str, str]] = []

    def run_on(server: str, argv: Any) -> str:
        command = argv[-1]
        if "status" in command:
            ports = {port.name: f"eth-{port.name}" for port in plan.server(server).ports}
            return json.dumps({"ports": ports, "dataplane": {"dead": []}})
        said.append((server, command))
        if fails and fails in command:
            raise CheckFailed("it fails", code="test.fails")
        return ""

    testers = [
        SimpleNamespace(index=number, at=SimpleNamespace(server=server.name, port=number, targets=("a",)))
        for number, server in enumerate(plan.servers)
    ]
    bench: Any = SimpleNamespace(family=4, testers=testers, sizes=sizes_of)
    options: Any = SimpleNamespace(size=64, flows=4)
    return Session(plan, bench, options, None, lambda _: None, run_on), said


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """No time passes, and each phase loses that many packets."""

    def losing(lost: int) -> None:
        def run_phase(bench: Any, traffic: Any, meanwhile: Callable[[], None]) -> Any:
            del bench
            meanwhile()
            return SimpleNamespace(phase=SimpleNamespace(sent=int(traffic.pps * traffic.seconds), lost=lost))

        monkeypatch.setattr(failures, "run_phase", run_phase)

    monkeypatch.setattr(failures, "_DELAY_S", 0)
    losing(0)
    return losing


def rb4(tmp_path: Any, more: str = "") -> ClusterPlan:
    path = tmp_path / "rb4.yml"
    path.write_text(f"name: rb4\nrouter: {{external_ports: 4, line_rate: 10Gbps}}\nservers: {{profile: lab}}\n{more}")
    return load_plan(path)


@pytest.mark.usefixtures("quick")
def test_all_that_is_broken_is_mended(tmp_path: Any) -> None:
    session, said = make_session(rb4(tmp_path))
    failures.run(session, 0)
    down = {command for server, command in said if "down" in command or "off" in command or "STOP" in command}
    assert len(down) == 4
    assert [(outage.event, outage.back) for outage in session.outages] == [
        (event, back)
        for event in (
            "cable cut",
            "program detached, carrier up",
            "watch stopped (SIGSTOP)",
            "intermediate server gone",
        )
        for back in (False, True)
    ]
    assert said[:3] == [
        ("n3", "ip link set dev eth-int0 down"),
        ("n3", "ip link set dev eth-int0 up"),
        ("n3", "ip link set dev eth-int0 up"),
    ]
    gone = [command for server, command in said if server == "n1"]
    assert gone[0] == "; ".join(f"ip link set dev eth-int{peer} down" for peer in (0, 2, 3))
    assert gone[-1] == gone[0].replace("down", "up")
    assert said[-1] == ("n3", "ip link set dev eth-int0 up"), "the direct cable, which was cut first"
    assert session.faults == []


@pytest.mark.usefixtures("quick")
def test_what_fails_in_the_middle_is_mended_too(tmp_path: Any) -> None:
    session, said = make_session(rb4(tmp_path), fails="xdp off")
    with pytest.raises(CheckFailed):
        failures.run(session, 0)
    assert said[-1] == ("n3", "rbops-node apply")


def test_longer_than_50_ms_is_a_fault(tmp_path: Any, quick: Any) -> None:
    session, _ = make_session(rb4(tmp_path))
    quick(200)  # 50 ms of all packets, which is within it, and 100 ms of half of them
    failures.run(session, 0)
    assert [(fault.kind, fault.server) for fault in session.faults] == [("reroute", "n1")] * 2
    assert "intermediate server gone at n1: packets lost for 100 ms" in session.faults[0].text


@pytest.mark.usefixtures("quick")
def test_other_data_planes_have_cables_only(tmp_path: Any) -> None:
    session, _ = make_session(rb4(tmp_path, "dataplane: kernel\n"))
    failures.run(session, 0)
    assert session.outages == []


@pytest.mark.usefixtures("quick")
def test_a_data_plane_that_is_a_process_is_stopped(tmp_path: Any) -> None:
    """At an intermediate: at the output server nothing could go round it."""
    session, said = make_session(rb4(tmp_path, "dataplane: click\n"))
    failures.run(session, 0)
    events = list(dict.fromkeys(outage.event for outage in session.outages))
    assert events[-1] == "data plane stopped (SIGSTOP), carrier up"
    assert not any("detached" in event for event in events)
    signals = [command.split()[3] for server, command in said if server == "n1" and "rbops-click" in command]
    assert (signals[0], signals[-1]) == ("STOP", "CONT")
    assert session.outages[-1].share == 0.5


def test_it_runs_when_it_is_asked_for_only() -> None:
    assert failures.NAME not in usual()
    assert [kind.name for kind in choose(())] == list(usual())
    assert choose((*usual(), failures.NAME))[-1].name == failures.NAME


def test_a_row_an_event() -> None:
    outages = [Outage("cable cut", back, "n3", ("int0",), 4000.0, 8000, 8 * back) for back in (False, True)]
    rows = plain([_outages(outages)]).splitlines()[3:]
    assert "cable cut, mended" in rows[1]
    assert rows[1].endswith("2.0 ms")
    assert outages[1].to_dict()["seconds"] == 0.002
