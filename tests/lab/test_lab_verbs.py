"""The lab verbs as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rbops.lab.providers import provider
from tests.lab.traces import subnet_of, traces
from tests.system.driver import wait_for

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


def _rbops(*args: str, stdin: str = "", by: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """``by``: a command that runs it."""
    return subprocess.run(
        [*by, sys.executable, "-c", "from rbops.cli import main; main()", "lab", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_root_without_capabilities_is_told_before_anything_is_made(spec: str) -> None:
    """As in a container, of which Docker's default capabilities are these."""
    kept = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod"
    bounds = "-all," + ",".join(f"+{name}" for name in kept.split(","))
    done = _rbops("up", spec, by=("setpriv", f"--bounding-set={bounds}"))
    assert done.returncode == 3
    assert "rbops: this process lacks CAP_NET_ADMIN and CAP_SYS_ADMIN: root in a container boots no lab" in done.stderr
    assert "docker run --privileged" in done.stderr
    assert "..." not in done.stderr, "no step has begun"


FILTERED = "iptables -P FORWARD DROP && sysctl -qw net.bridge.bridge-nf-call-iptables=1 && exec sleep 300"


def test_a_machine_whose_filter_drops_what_is_forwarded(spec: str) -> None:
    """As Docker's does, with br_netfilter for bridges too: the lab's servers are reached nevertheless."""
    with subprocess.Popen(["unshare", "--net", "sh", "-c", FILTERED]) as machine:
        inside = ("nsenter", f"--net=/proc/{machine.pid}/ns/net")
        try:
            wait_for("the policy is set", lambda: "-P FORWARD DROP" in _output(*inside, "iptables", "-S", "FORWARD"))
            up = _rbops("up", spec, by=inside)
            assert up.returncode == 0, up.stderr
            assert _rbops("exec", "rbt-verbs", "n0", "--", "hostname", by=inside).stdout == "n0\n"
            n1 = json.loads(_rbops("status", spec, "--format", "json", by=inside).stdout)["servers"][1]["address"]
            ping = _rbops("exec", "rbt-verbs", "n0", "--", "ping", "-c1", "-W1", n1, by=inside)
            assert "100% packet loss" in ping.stdout, "the filter drops nothing"
            down = _rbops("down", spec, by=inside)
            assert down.returncode == 0, down.stderr
        finally:
            machine.kill()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


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
