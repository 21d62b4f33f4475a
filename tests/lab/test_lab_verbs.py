"""The lab verbs as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.lab.providers import provider
from tests.lab.traces import subnet_of, traces

pytestmark = pytest.mark.lab

_SPEC = """\
name: rbt-verbs
router: {external_ports: 2, line_rate: 1Gbps}
servers: {profile: lab}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "spec.yml"
    path.write_text(_SPEC, encoding="utf-8")
    provider().down("rbt-verbs")
    yield str(path)
    provider().down("rbt-verbs")


def _rbops(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from rbops.cli import main; main()", "lab", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_up_status_exec_ssh_and_down(spec: str) -> None:
    made = _rbops("up", spec)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "/var/lib/rbops/labs/rbt-verbs/inventory.yml\n"
    assert "boot 2 servers: " in made.stderr
    subnet = subnet_of("rbt-verbs")

    again = _rbops("up", spec)
    assert (again.returncode, again.stdout) == (0, made.stdout)
    assert "lab rbt-verbs is as planned" in again.stderr

    status = _rbops("status", spec)
    assert (status.returncode, status.stderr) == (0, "")
    assert "n0      10.82." in status.stdout
    body = json.loads(_rbops("status", spec, "--format", "json").stdout)
    assert (body["schema_version"], body["state"], len(body["servers"]), len(body["testers"])) == (1, "up", 2, 2)

    ran = _rbops("exec", spec, "n1", "--", "sh", "-c", "hostname; cat; exit 7", stdin="from here\n")
    assert (ran.returncode, ran.stdout) == (7, "n1\nfrom here\n")
    ran = _rbops("exec", spec, "t0", "--", "cat", "/sys/class/net/ext0/address")
    assert (ran.returncode, ran.stdout) == (0, "02:4e:00:00:00:02\n")
    assert _rbops("ssh", spec, "n0", stdin="exit 9\n").returncode == 9
    absent = _rbops("exec", spec, "n7", "--", "true")
    assert absent.returncode == 3
    assert "has no server and no tester n7\nhint: servers: n0, n1; testers: t0, t1\n" in absent.stderr

    pid = body["servers"][0]["pid"]
    subprocess.run(["kill", "-9", str(pid)], check=True)
    deadline = time.monotonic() + 10
    while provider().status("rbt-verbs").servers[0].running:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status = _rbops("status", spec)
    assert status.returncode == 1
    assert "lab rbt-verbs is degraded: no answer from n0" in status.stderr

    listed = json.loads(_rbops("list", "--format", "json").stdout)["labs"]
    assert ("rbt-verbs", "up", "nspawn", 2) in [
        (lab["name"], lab["state"], lab["provider"], lab["servers"]) for lab in listed
    ]

    removed = _rbops("down", "rbt-verbs")
    assert (removed.returncode, removed.stdout, removed.stderr) == (0, "", "lab rbt-verbs removed\n")
    assert traces("rbt-verbs", subnet) == []
    removed = _rbops("down", spec)
    assert (removed.returncode, removed.stderr) == (0, "there is no lab called rbt-verbs: nothing to remove\n")


def test_a_named_lab_needs_no_spec_to_be_removed(spec: str, tmp_path: Path) -> None:
    assert _rbops("down", str(tmp_path / "gone.yml"), "--name", "rbt-verbs").returncode == 0
    assert _rbops("down", str(tmp_path / "gone.yml")).returncode == 2
    assert _rbops("status", spec, "--name", "rbt-verbs").returncode == 3
    assert _rbops("down", spec, "--name", "../x").returncode == 2
