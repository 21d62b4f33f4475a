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
            "ring": {"rx": 1024, "tx": 8192},
            "ring_fit": True,
            "coalesce": {"adaptive-rx": False, "adaptive-tx": False, "rx-usecs": 100},
            "offloads": {"gro": True, "lro": False},
            "rss": 2,
            "rss_key": "symmetric",
            "steering": [{"mac": "02:52:00:01:00:01", "queue": 1}],
            "threaded_napi": True,
            "napi": {"gro_flush_timeout": 200000},
        }
    ],
    "dataplane": {"next_hop": {}},
}
SYSCTL = "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/all/rp_filter:0\n"
LINK = [{"ifname": "ext0", "flags": ["UP", "LOWER_UP"], "mtu": 1500, "xdp": {"mode": 1, "prog": {"id": 7}}}]

INTERRUPTS = """           CPU0       CPU1
 41:          3          0  PCI-MSIX-0000:03:00.0    0-edge      ext0
 42:         30          0  PCI-MSIX-0000:03:00.0    1-edge      ext0-TxRx-0
 43:          0         30  PCI-MSIX-0000:03:00.0    2-edge      ext0-TxRx-1
"""
RINGS = "Pre-set maximums:\nRX:\t\t4096\nTX:\t\t4096\nCurrent hardware settings:\nRX:\t\t1024\nTX:\t\t4096\n"
RSS = "    0:      0     1     0     1\nRSS hash key:\n6d:5a:6d:5a:6d:5a:6d:5a\n"
RULES = """2 RX rings available
Total 1 rules

Filter: 7
\tFlow Type: Raw Ethernet
\tDest MAC addr: 02:52:00:01:00:01 mask: 00:00:00:00:00:00
\tAction: Direct to queue 1
"""
NAPI = "/sys/class/net/ext0/threaded:1\n/sys/class/net/ext0/gro_flush_timeout:200000\n"

THREADS = """napi/ext0-8194
pid 8's current affinity list: 1
napi/ext0-8193
pid 9's current affinity list: 0
"""


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
        "grep -Hs '' /sys/class/net/ext0/": NAPI,
        "grep -Hs": SYSCTL,
        "ls /sys/class/net/ext0/device": "41\n42\n43\n",
        "cat /proc/interrupts": INTERRUPTS,
        "cat /proc/irq/41/": "0-1\n0\n",
        "cat /proc/irq/42/": "0\n0\n",
        "cat /proc/irq/43/": "1\n1\n",
        "rbops-node show": "[]",
        "ethtool -g": RINGS,
        "ethtool -c": "Adaptive RX: off  TX: n/a\nrx-usecs:\t100\nrx-frames:\tn/a\n",
        "ethtool -k": "generic-receive-offload: on\nlarge-receive-offload: off [fixed]\n",
        "ethtool -x": RSS,
        "ethtool -n": RULES,
        "grep -lE": THREADS,
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
    result = verify(answers(), "queues or addresses or test_up or sysctl or native", progress=seen.append)
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


@pytest.mark.parametrize(
    ("recorded", "name", "found"),
    [
        ({"ethtool -g": RINGS.replace("1024", "512")}, "rings[n0:ext0]", "ring rx is 512, planned 1024"),
        (
            {"ethtool -c": "Adaptive RX: on  TX: n/a\nrx-usecs:\t50\n"},
            "coalescing[n0:ext0]",
            "coalesce adaptive-rx is on, planned off; coalesce rx-usecs is 50, planned 100",
        ),
        ({"ethtool -k": "generic-receive-offload: off\n"}, "offloads[n0:ext0]", "offload gro is off, planned on"),
        ({"ethtool -x": RSS.replace("0     1     0", "0     1     5")}, "rss[n0:ext0]", "queues [0, 1, 5]"),
        ({"ethtool -x": RSS.replace("6d:5a:6d", "11:22:33")}, "rss[n0:ext0]", "rss key is 11:22:33"),
        ({"ethtool -n": "Total 0 rules\n"}, "steering[n0:ext0]", "02:52:00:01:00:01 is none, planned queue 1"),
        ({"ethtool -n": RULES + RULES.replace("01:00:01", "09:00:01")}, "steering[n0:ext0]", "not planned"),
        (
            {"grep -Hs '' /sys/class/net/ext0/": NAPI.replace("threaded:1", "threaded:0")},
            "napi[n0:ext0]",
            "is 0, planned 1",
        ),
        ({"grep -lE": "napi/ext0-8193\npid 9's current affinity list: 0,1\n"}, "napi_threads[n0:ext0]", "['0,1']"),
        (
            {"cat /proc/irq/43/": "0-1\n1\n"},
            "affinity[n0:ext0:1]",
            "interrupt 43 (ext0-TxRx-1) may go to CPUs 0-1, planned 1",
        ),
        ({"cat /proc/interrupts": "CPU0\n"}, "affinity[n0:ext0:0]", "no interrupts of its own"),
    ],
)
def test_what_a_device_was_told(verify: Any, recorded: dict[str, str], name: str, found: str) -> None:
    assert verify(answers(), "nic or interrupts").passed
    result = verify({**answers(), **recorded}, "nic or interrupts")
    (check,) = [check for check in result.checks if check.name == name]
    assert found in check.detail
    assert check.outcome == ("skipped" if "of its own" in found else "failed")


def test_what_a_driver_refuses_is_left_out_with_its_reason(verify: Any) -> None:
    said = {
        "subject": "port ext0",
        "setting": "coalesce rx-usecs",
        "have": "0",
        "want": "100",
        "unsupported": "refused: no",
    }
    recorded = {"ethtool -c": "Adaptive RX: off  TX: n/a\nrx-usecs:\t0\n", "rbops-node show": json.dumps([said])}
    result = verify({**answers(), **recorded}, "coalescing")
    assert [(check.outcome, check.detail) for check in result.checks] == [
        ("skipped", "coalesce rx-usecs is 0, planned 100: refused: no")
    ]
    idle = verify({**answers(), "cat /proc/irq/43/": "1\n0\n"}, "affinity")
    assert [check.outcome for check in idle.checks] == ["passed", "skipped"]
    assert "moves with its next interrupt" in idle.checks[1].detail


def test_devices_handed_to_a_program(verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = {**NODE["ports"][0], "bind": "vfio-pci", "select": {"pci": "0000:03:00.0"}}
    monkeypatch.setitem(NODE, "ports", [port])
    monkeypatch.setitem(NODE, "hugepages", {"2048": 512})
    monkeypatch.setitem(NODE, "cores", {"dataplane": [2, 3], "housekeeping": [0]})
    recorded = {
        "readlink": "../../../bus/pci/drivers/vfio-pci\n",
        "ls -d": "/sys/devices/system/cpu/cpu2/node1\n/sys/devices/system/cpu/cpu3/node1\n",
        "cat /sys/devices/system/node/node1/": "512\n",
    }
    result = verify({**answers(), **recorded}, "handed or nic or queues or up")
    assert [(check.name, check.outcome) for check in result.checks] == [
        ("driver[n0:ext0]", "passed"),
        ("hugepages[n0:2048kB]", "passed"),
    ], "nothing is asked of a device that the kernel no longer has"
    result = verify({**answers(), **recorded, "readlink": "x/ixgbe", "cat /sys/devices": "8\n"}, "handed")
    assert next(check.detail for check in result.failures) == "the device is bound to ixgbe, planned vfio-pci"


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
