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
from rbops.verify.result import Check, VerifyResult
from rbops.verify.run import run_verify

NODE: dict[str, Any] = {
    "digest": "d" * 64,
    "index": 0,
    "sysctl": {"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0"},
    "ports": [
        {
            "name": "ext0",
            "kind": "external",
            "select": {"name": "ext0"},
            "mtu": 1500,
            "promiscuous": False,
            "addresses": ["198.18.0.1/24"],
            "neighbors": [],
            "queues": [{"index": 0, "rx_core": 0, "tx_core": 0}, {"index": 1, "rx_core": 1, "tx_core": 1}],
        }
    ],
    "dataplane": {"next_hop": {}},
}
SYSCTL = "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/all/rp_filter:0\n"
LINK = [{"ifname": "ext0", "flags": ["UP", "LOWER_UP"], "mtu": 1500, "xdp": {"mode": 1, "prog": {"id": 7}}}]


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
                    raise Unreachable(f"{self.target.name}: the connection broke")
                return Completed(0, answer, "")
        done = subprocess.run(["sh", "-c", "exit 1"], capture_output=True, text=True, check=False)
        return Completed(done.returncode, "", f"not recorded: {command}")

    def close(self) -> None:
        self.closed = True


def answers(**other: str) -> dict[str, str]:
    xps = "\n".join(
        f"/sys/class/net/ext0/queues/{name}:{value}"
        for name, value in (
            ("tx-0/xps_cpus", "1"),
            ("tx-1/xps_cpus", "2"),
            ("rx-0/rps_cpus", "0"),
            ("rx-1/rps_cpus", "0"),
        )
    )
    base = {
        "ip -j -d link": json.dumps(LINK),
        "ip -j -4 addr": json.dumps([{"ifname": "ext0", "addr_info": [{"local": "198.18.0.1", "prefixlen": 24}]}]),
        "grep -rs": xps,
        "grep -Hs": SYSCTL,
    }
    return {**base, **{key.replace("__", " "): value for key, value in other.items()}}


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(recorded: dict[str, str], select: str, **options: Any) -> VerifyResult:
        session = FakeSession(Target("n0", "10.82.0.10"), recorded)
        monkeypatch.setattr(rbops.verify.host, "open_session", lambda _: session)
        try:
            return run_verify("d" * 64, [session.target], {"n0": NODE}, {"n0": {}}, select=select, **options)
        finally:
            assert session.closed

    return run


def test_a_server_as_planned_passes(verify: Any) -> None:
    seen: list[Check] = []
    result = verify(answers(), "queues or addresses or up or sysctl or native", progress=seen.append)
    assert result.passed, result.failures
    assert {check.subject for check in result.checks} == {"queues", "network", "dataplane"}
    assert tuple(seen) == result.checks
    assert json.loads(json.dumps(result.to_dict()))["counts"] == {"passed": len(result.checks)}


@pytest.mark.parametrize(
    ("recorded", "name", "found"),
    [
        ({"grep -rs": "/sys/class/net/ext0/queues/tx-0/xps_cpus:3"}, "xps[n0:ext0:0]", "CPUs [0, 1], planned CPU 0"),
        ({"grep -rs": "/sys/class/net/ext0/queues/rx-0/rps_cpus:f"}, "rps[n0:ext0:0]", "RPS hands packets"),
        ({"ip -j -d link": json.dumps([{**LINK[0], "xdp": {"mode": 2}}])}, "native[n0:ext0]", "mode 2"),
        ({"ip -j -d link": json.dumps([{**LINK[0], "flags": ["UP"]}])}, "up[n0:ext0]", "no carrier"),
        ({"ip -j -4 addr": "[]"}, "addresses[n0:ext0]", "none, planned ['198.18.0.1/24']"),
        (
            {"grep -Hs": SYSCTL.replace("ip_forward:1", "ip_forward:0")},
            "sysctl[n0:net.ipv4.ip_forward]",
            "is 0, planned 1",
        ),
    ],
)
def test_a_difference_is_named(verify: Any, recorded: dict[str, str], name: str, found: str) -> None:
    result = verify({**answers(), **recorded}, "queues or network or native")
    (failure,) = [check for check in result.failures if check.name == name]
    assert found in failure.detail
    assert not result.passed


def test_no_check_is_a_failure(verify: Any) -> None:
    with pytest.raises(CheckFailed, match="no check was run"):
        verify(answers(), "nothing_is_called_this")


def test_a_server_that_goes_away_is_unreachable(verify: Any) -> None:
    with pytest.raises(Unreachable, match="n0: the connection broke"):
        verify({**answers(), "ip -j -d link": "unreachable"}, "native")


def test_junit(verify: Any, tmp_path: Path) -> None:
    report = tmp_path / "verify.xml"
    verify({**answers(), "ip -j -4 addr": "[]"}, "network and addresses", junit=report)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
