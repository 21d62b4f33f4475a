"""Kernel settings on booted servers: files, removal, rollback, rolling reboots.

A lab server is a container: boot parameters, modules and CPUs are its host's and are reported as such; files,
sysctl and reboots are its own. The tests share one lab of three and go in the order of the file.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.inventory import load_inventory
from rbops.deploy.status import diff_servers, status_servers
from rbops.errors import ApplyFailed, CheckFailed, StateUnknown
from rbops.planner import load_plan
from tests.deploy.conftest import Cluster
from tests.deploy.serverstate import inside, state, states
from tests.support.errors import raises
from tests.support.lab import MakeLab

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

SPEC = """\
name: rbktest
router: {external_ports: 3, line_rate: 1Gbps}
servers: {profile: lab}
"""
KERNEL = """\
kernel:
  parameters: {intel_iommu: on}
  hugepages: {size: 2MB, count: 4}
  governor: performance
  irqbalance: "off"
  modules: {ixgbe: {allow_unsupported_sfp: 1}, dummy: }
  sysctl: {net.ipv4.conf.ext1.log_martians: 1, net.ipv4.ip_default_ttl: 63, kernel.pid_max: 99999}
"""
OPTIONS, LOAD = "/etc/modprobe.d/zz-rbops.conf", "/etc/modules-load.d/rbops.conf"
MARTIANS = "/proc/sys/net/ipv4/conf/{}/log_martians"


@pytest.fixture(scope="module")
def trio(make_lab: MakeLab, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three servers with the plain spec applied."""
    del runs
    folder = tmp_path_factory.mktemp("kernel")
    spec = folder / "router.yml"
    spec.write_text(SPEC, encoding="utf-8")
    cluster = Cluster(make_lab(load_plan(spec), "rbt-kernel"), spec, folder)
    cluster.apply()
    return cluster


def kernel_spec(trio: Cluster, text: str = KERNEL) -> Path:
    path = trio.folder / "kernel.yml"
    path.write_text(SPEC + text, encoding="utf-8")
    return path


def boots(trio: Cluster) -> dict[str, str]:
    return {
        s.name: inside(trio.lab, s.name, "cat", "/proc/sys/kernel/random/boot_id").strip() for s in trio.lab.servers
    }


def prepared(found: dict[str, Any]) -> list[str]:
    return sorted(path for path in found["files"] if path.endswith(".rbops-new"))


def test_until_the_confirmation_the_next_boot_is_as_before(trio: Cluster) -> None:
    """A server that reboots in between comes up with the old files, and all are rolled back."""
    before = states(trio.lab)
    seen: dict[str, dict[str, Any]] = {}

    def look_and_reboot() -> None:
        seen.update(states(trio.lab))
        trio.lab.restart("n1")
        raise CheckFailed("rebooted", code="test.acceptance")

    with raises(ApplyFailed, "apply.rolled-back") as caught:
        trio.apply(kernel_spec(trio), acceptance=look_and_reboot)
    assert [cause.code for cause in caught.value.causes] == ["test.acceptance"]
    for found in seen.values():
        assert prepared(found) == [f"{OPTIONS}.rbops-new", f"{LOAD}.rbops-new"]
        assert OPTIONS not in found["files"]
    assert states(trio.lab) == before


def test_in_force_and_verified(trio: Cluster) -> None:
    spec = kernel_spec(trio)
    done = trio.apply(spec)
    assert done.waiting == {}, "a container's boot parameters wait for nothing"
    for name, found in states(trio.lab).items():
        assert prepared(found) == []
        text = inside(trio.lab, name, "cat", OPTIONS, LOAD)
        assert [line for line in text.splitlines() if line[0] != "#"] == [
            "options ixgbe allow_unsupported_sfp=1", "dummy", "ixgbe",
        ]  # fmt: skip
        assert inside(trio.lab, name, "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "63\n"
    assert inside(trio.lab, "n1", "cat", MARTIANS.format("ext1")) == "1\n"
    assert inside(trio.lab, "n0", "cat", MARTIANS.format("ext0")) == "0\n"
    assert trio.apply(spec).total_changed == 0
    assert all(server.equal for server in diff_servers(load_plan(spec), load_inventory(trio.lab.inventory)))
    show = json.loads(inside(trio.lab, "n0", "rbops-node", "show", "--json"))
    have = {(entry["subject"], entry["setting"]): entry["have"] for entry in show}
    assert have["boot", "parameters"] == "the host's"
    assert have["CPUs", "governor"] == "the host's"
    process = trio.cli("verify", "--format", "json", spec=spec)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, [check for check in json.loads(out)["checks"] if check["outcome"] == "failed"]
    kernel = [check for check in json.loads(out)["checks"] if check["subject"] == "kernel"]
    outcomes = {re.split(r"[\[]", check["name"])[0]: check["outcome"] for check in kernel}
    assert outcomes["boot_parameter"] == "skipped"
    assert outcomes["module_options"] == "passed"
    assert "not in a container" in next(c["detail"] for c in kernel if c["name"].startswith("boot_parameter"))


def test_what_the_spec_no_longer_says_is_taken_off(trio: Cluster) -> None:
    inside(trio.lab, "n2", "sh", "-c", f"echo '# by hand' >> {OPTIONS}")
    (changed,) = [
        server for server in diff_servers(load_plan(kernel_spec(trio)), load_inventory(trio.lab.inventory))
        if not server.equal
    ]  # fmt: skip
    assert [(change.subject, change.setting, change.have) for change in changed.changes] == [
        ("modules", OPTIONS, "differs")
    ]
    trio.apply()
    for name, found in states(trio.lab).items():
        assert not {
            path for path in found["files"] if "rbops" in path and path.startswith(("/etc/mod", "/etc/default"))
        }
        assert inside(trio.lab, name, "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "64\n"
    assert inside(trio.lab, "n1", "cat", MARTIANS.format("ext1")) == "0\n"


def test_a_server_that_needs_it_is_rebooted_while_the_others_forward(trio: Cluster) -> None:
    before, first = states(trio.lab), boots(trio)
    inside(trio.lab, "n1", "sh", "-c", "echo linux-image-amd64 > /run/reboot-required.pkgs; touch /run/reboot-required")
    found = {s.name: s.waiting for s in status_servers(trio.plan, load_inventory(trio.lab.inventory))}
    assert [name for name, waiting in found.items() if waiting] == ["n1"]
    assert "linux-image-amd64" in str(found["n1"][0])
    stop, lost = threading.Event(), list[str]()

    def ask() -> None:
        while not stop.is_set():
            command = ("ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", "198.18.2.1")
            try:
                inside(trio.lab, "n0", *command)
            except subprocess.CalledProcessError as error:
                lost.append(error.stdout)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        process = trio.cli("apply", "--reboot", "--format", "json")
        out, err = process.communicate(timeout=180)
    finally:
        stop.set()
        thread.join()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert list(result["rebooted"]) == ["n1"]
    assert result["reboot_required"] == {}
    now = boots(trio)
    assert {name for name in now if now[name] != first[name]} == {"n1"}
    assert lost == [], "n0 reached n2 all the time"
    assert states(trio.lab) == before


def test_it_stops_at_a_server_that_does_not_come_back_as_planned(trio: Cluster) -> None:
    first = boots(trio)
    broken = "/etc/systemd/system/rbops.service.d"
    try:
        for name in ("n1", "n2"):
            inside(trio.lab, name, "touch", "/run/reboot-required")
        text = "[Service]\\nExecStartPre=/bin/false\\n"
        inside(
            trio.lab,
            "n1",
            "sh",
            "-c",
            f"mkdir {broken}; printf '{text}' > {broken}/broken.conf; systemctl daemon-reload",
        )
        process = trio.cli("apply", "--reboot")
        _, err = process.communicate(timeout=180)
        assert process.returncode == StateUnknown.exit_code, err
        assert "n1: is back, but rbops.service failed" in err
        assert "not rebooted or not back: n1, n2" in err
        now = boots(trio)
        assert {name for name in now if now[name] != first[name]} == {"n1"}
        assert {name: found["lock"] for name, found in states(trio.lab).items()} == {"n0": None, "n1": None, "n2": None}
    finally:
        inside(trio.lab, "n1", "sh", "-c", f"rm -rf {broken}; systemctl daemon-reload; systemctl restart rbops.service")
        inside(trio.lab, "n2", "rm", "-f", "/run/reboot-required")
    trio.apply()
    assert state(trio.lab, "n1")["links"]["ext1"]["xdp"]
