"""The suite's machinery against servers that are recorded answers: what fails is named, nothing run is a failure."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import rbops.verify.host
from rbops.deploy.inventory import Target
from rbops.deploy.ssh import Completed
from rbops.errors import CheckFailed, Unreachable
from rbops.node.schema import NodeConfig
from rbops.verify.result import Check, VerifyResult
from rbops.verify.run import run_verify
from tests.node.recorded import config, external
from tests.support.errors import raises

PORT = external(
    driver="ixgbe",
    queues=[{"index": 0, "rx_core": 0, "tx_core": 0}, {"index": 1, "rx_core": 1, "tx_core": 1}],
    nic={},
)
NODE = config(ports=[PORT])
LINK = [{"ifname": "ext0", "flags": ["UP", "LOWER_UP"], "mtu": 1500, "xdp": {"mode": 1, "prog": {"id": 7}}}]

INTERRUPTS = """           CPU0       CPU1
 41:          3          0  PCI-MSIX-0000:03:00.0    0-edge      ext0
 42:         30          0  PCI-MSIX-0000:03:00.0    1-edge      ext0-TxRx-0
 43:          0         30  PCI-MSIX-0000:03:00.0    2-edge      ext0-TxRx-1
"""


def row(setting: str, have: str, want: str, *, subject: str = "port ext0", **more: str) -> dict[str, str]:
    """A row of ``rbops-node show --json``."""
    return {"subject": subject, "setting": setting, "have": have, "want": want, **more}


ROWS = [
    row("ring rx", "1024", "1024"),
    row("xps tx-0", "0", "0"),
    row("net.ipv4.ip_forward", "1", "1", subject="sysctl"),
]


@dataclass
class Served:
    """`rbops-node serve` of a session."""

    session: FakeSession
    answer: str = ""

    def send(self, line: str) -> None:
        argv = json.loads(line)["argv"]
        done = self.session.run([f"rbops-node {' '.join(argv)}"], 1)
        self.answer = json.dumps({"code": done.returncode, "out": done.stdout, "err": done.stderr})

    def receive(self, timeout: float) -> str:
        assert timeout > 0
        return self.answer


@dataclass
class FakeSession:
    """Answers by the beginning of the command; anything unknown is run by a local shell without effect."""

    target: Target
    answers: dict[str, str] = field(default_factory=dict)
    closed: bool = False

    def run(self, argv: list[str], timeout: float) -> Completed:
        assert timeout > 0
        command = argv[-1]
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                if answer == "unreachable":
                    raise Unreachable(f"{self.target.name}: the connection broke", code="test.lost")
                return Completed(0, answer, "")
        done = subprocess.run(["sh", "-c", "exit 1"], capture_output=True, text=True, check=False)
        return Completed(done.returncode, "", f"not recorded: {command}")

    def start(self, argv: list[str], timeout: float) -> Served:
        assert (argv[1:], timeout > 0) == (["/usr/sbin/rbops-node", "serve"], True)
        return Served(self)

    def close(self) -> None:
        self.closed = True


def answers(**other: str) -> dict[str, str]:
    base = {
        "ip -j -d link": json.dumps(LINK),
        "ls /sys/class/net/ext0/device": "41\n42\n43\n",
        "cat /proc/interrupts": INTERRUPTS,
        "cat /proc/irq/41/": "0-1\n0\n",
        "cat /proc/irq/42/": "0\n0\n",
        "cat /proc/irq/43/": "1\n1\n",
        "rbops-node show": json.dumps(ROWS),
    }
    return {**base, **other}


def shown(*rows: dict[str, str]) -> dict[str, str]:
    return answers(**{"rbops-node show": json.dumps(rows)})


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(recorded: dict[str, str], select: str, node: NodeConfig = NODE, **options: Any) -> VerifyResult:
        session = FakeSession(Target("n0", "10.82.0.10"), recorded)
        monkeypatch.setattr(rbops.verify.host, "open_session", lambda _: session)
        try:
            return run_verify("d" * 64, [session.target], {"n0": node}, {"n0": {}}, select=select, **options)
        finally:
            assert session.closed

    return run


def test_a_server_as_planned_passes(verify: Any) -> None:
    seen: list[Check] = []
    result = verify(answers(), "settings or test_up or interrupts or native", progress=seen.append)
    assert result.passed, result.failures
    assert {check.subject for check in result.checks} == {"settings", "network", "interrupts", "dataplane"}
    assert tuple(seen) == result.checks
    assert json.loads(json.dumps(result.to_dict()))["counts"] == {"passed": len(result.checks)}


def test_each_row_is_a_check_by_server_subject_and_setting(verify: Any) -> None:
    rows = [*ROWS[1:], row("ring rx", "512", "1024"), row("rss key", "none", "6d:5a", reason="refused: no")]
    result = verify(shown(*rows), "setting")
    assert {(check.name, check.outcome, check.detail) for check in result.checks} == {
        ("setting[n0:port ext0:xps tx-0]", "passed", ""),
        ("setting[n0:sysctl:net.ipv4.ip_forward]", "passed", ""),
        ("setting[n0:port ext0:ring rx]", "failed", "ring rx is 512, planned 1024"),
        ("setting[n0:port ext0:rss key]", "skipped", "rss key is none, planned 6d:5a: refused: no"),
    }
    assert not result.passed


def test_a_port_of_which_nothing_is_shown_is_a_failure(verify: Any) -> None:
    result = verify(shown(ROWS[2]), "setting")
    (failure,) = result.failures
    assert (failure.name, failure.detail) == (
        "setting[n0:port ext0:settings]",
        "settings is not shown, planned shown",
    )


@pytest.mark.parametrize("answer", ["", "null", "{}", '[{"subject": "port ext0"}]', "Traceback", '["x"]'])
def test_rows_that_cannot_be_read_are_a_failure(verify: Any, answer: str) -> None:
    result = verify(answers(**{"rbops-node show": answer}), "setting")
    assert result.failures
    assert not result.passed


def test_a_program_that_cannot_show_says_why(verify: Any) -> None:
    recorded = answers()
    del recorded["rbops-node show"]
    (failure,) = verify(recorded, "setting").failures
    assert failure.name == "setting[n0:rbops-node:show]"
    assert "not recorded: rbops-node show --json (exit 1)" in failure.detail


@pytest.mark.parametrize(
    ("recorded", "name", "found"),
    [
        ({"ip -j -d link": json.dumps([{**LINK[0], "xdp": {"mode": 2}}])}, "native[n0:ext0]", "mode 2"),
        ({"ip -j -d link": json.dumps([{**LINK[0], "flags": ["UP"]}])}, "up[n0:ext0]", "no carrier"),
        (
            {"cat /proc/irq/43/": "0-1\n0\n"},
            "effective_affinity[n0:ext0:1]",
            "interrupt 43 (ext0-TxRx-1) goes to CPUs 0, planned 1",
        ),
    ],
)
def test_a_difference_is_named(verify: Any, recorded: dict[str, str], name: str, found: str) -> None:
    result = verify({**answers(), **recorded}, "network or native or interrupts")
    (failure,) = [check for check in result.failures if check.name == name]
    assert found in failure.detail
    assert not result.passed


@pytest.mark.parametrize(
    ("recorded", "number", "found"),
    [
        ({"cat /proc/interrupts": "CPU0\n"}, 0, "no interrupts of its own"),
        ({"cat /proc/irq/43/": "1\n0\n"}, 1, "it moves with its next interrupt"),
        (
            {
                "cat /proc/irq/43/": "0-1\n0\n",
                "rbops-node show": json.dumps([row("irq 1", "0-1", "1", reason="the kernel manages this interrupt")]),
            },
            1,
            "goes to CPUs 0, planned 1: the kernel manages this interrupt",
        ),
    ],
)
def test_interrupts_that_cannot_be_judged_are_left_out(
    verify: Any, recorded: dict[str, str], number: int, found: str
) -> None:
    check = verify({**answers(), **recorded}, "effective_affinity").checks[number]
    assert check.outcome == "skipped"
    assert found in check.detail


def test_devices_handed_to_a_program(verify: Any) -> None:
    node = config(ports=[{**PORT, "nic": {"bind": "vfio-pci"}, "select": {"pci": "0000:03:00.0"}}])
    result = verify(shown(row("driver", "ixgbe", "vfio-pci")), "settings or interrupts or up", node=node)
    assert [(check.name, check.outcome) for check in result.checks] == [("setting[n0:port ext0:driver]", "failed")], (
        "nothing else is asked of a device that the kernel no longer has"
    )


def test_no_check_is_a_failure(verify: Any) -> None:
    with raises(CheckFailed, "verify.no-checks"):
        verify(answers(), "nothing_is_called_this")


def test_a_server_that_goes_away_is_unreachable(verify: Any) -> None:
    with raises(Unreachable, "test.lost"):
        verify({**answers(), "ip -j -d link": "unreachable"}, "native")
    with raises(Unreachable, "test.lost"):
        verify({**answers(), "rbops-node show": "unreachable"}, "native")


def test_junit(verify: Any, tmp_path: Path) -> None:
    report = tmp_path / "verify.xml"
    verify(shown(row("mtu", "1400", "1500")), "setting", junit=report)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
