"""`rbops discover` against booted servers: what it finds, and that it leaves them as they were.

The tests share one lab of three servers, in the order of the file; each puts cables back as they were. State
is read from the servers, never taken from messages.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops.deploy.apply import ApplyOptions, apply
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.stop import Stop
from rbops.lab.model import Lab
from rbops.planner import load_plan
from tests.deploy.serverstate import inside, programs, states
from tests.support.lab import MakeLab

pytestmark = [pytest.mark.lab, pytest.mark.root]

SPEC = """\
# the router of this test
name: rbt-discover
router: {external_ports: 3, line_rate: 1Gbps}   # three of them
servers: {profile: lab}
"""
SWAP = "ip link set int0 name tmp0; ip link set int1 name int0; ip link set tmp0 name int1"


@dataclass(frozen=True)
class Cluster:
    """The lab, its spec, and the command line."""

    lab: Lab
    folder: Path
    spec: Path

    def start(self, *words: str | Path, inventory: Path | None = None) -> subprocess.Popen[str]:
        code = "from rbops.cli import main; main()"
        argv = [sys.executable, "-c", code, "discover", *map(str, words), "-i", str(inventory or self.lab.inventory)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str | Path, code: int = 0, inventory: Path | None = None) -> tuple[str, str]:
        process = self.start(*words, inventory=inventory)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{out}\n{err}"
        return out, err

    def error(self, *arguments: object, code: int, inventory: Path | None = None) -> dict[str, Any]:
        """The error that a verb which fails with ``code`` reports to programs."""
        out, _ = self.run(*arguments, "--format", "json", code=code, inventory=inventory)
        found: dict[str, Any] = json.loads(out)["error"]
        return found

    def inventory(self, change: Callable[[dict[str, Any]], None]) -> Path:
        """The lab's inventory with ``change`` made to its servers."""
        value = yaml.safe_load(self.lab.inventory.read_text())
        change(value["all"]["children"]["rbops_servers"]["hosts"])
        path = self.folder / "changed.yml"
        path.write_text(yaml.safe_dump(value))
        return path


@pytest.fixture(scope="module")
def cluster(make_lab: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("discover")
    spec = folder / "router.yml"
    spec.write_text(SPEC, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield Cluster(make_lab(load_plan(spec), "rbt-discover"), folder, spec)


@pytest.fixture
def unchanged(cluster: Cluster) -> Iterator[None]:
    """Every server is at the end what it was at the start."""
    before = states(cluster.lab)
    yield
    assert states(cluster.lab) == before


@pytest.fixture
def swapped(cluster: Cluster) -> Iterator[None]:
    """The two internal ports of n2 have each other's cable."""
    inside(cluster.lab, "n2", "sh", "-c", SWAP)
    yield
    inside(cluster.lab, "n2", "sh", "-c", SWAP)


@pytest.fixture
def unplugged(cluster: Cluster) -> Iterator[None]:
    """n1:int0 is another device, whose far end is down: neither it nor n0:int1 gets a carrier."""
    script = "ip link set int0 name away; ip link add int0 type veth peer name nobody"
    inside(cluster.lab, "n1", "sh", "-c", script)
    yield
    inside(cluster.lab, "n1", "sh", "-c", "ip link del int0; ip link set away name int0")


@pytest.mark.usefixtures("unchanged")
def test_facts_of_the_servers(cluster: Cluster) -> None:
    out, _ = cluster.run("--format", "json")
    found = json.loads(out)
    assert found["schema_version"] == 1
    assert set(found["servers"]) == {"n0", "n1", "n2"}
    assert found["cabling"] is None
    for name, server in found["servers"].items():
        kernel = inside(cluster.lab, name, "uname", "-r").strip()
        assert server["kernel"]["release"] == kernel
        assert server["machine_id"] == inside(cluster.lab, name, "cat", "/etc/machine-id").strip()
        assert len(server["online"]) == int(inside(cluster.lab, name, "nproc", "--all"))
        nics = {nic["device"]: nic for nic in server["nics"]}
        assert {device for device, nic in nics.items() if nic["management"]} == {"mgmt0"}
        assert {nic["driver"] for nic in nics.values()} == {"veth"}
        assert len(nics) == 4


@pytest.mark.usefixtures("unchanged")
def test_cabling_as_planned(cluster: Cluster) -> None:
    out, err = cluster.run(cluster.spec)
    assert "Cabling: 9 of 9 ports as planned" in out
    assert "sending frames out of 9 ports" in err


@pytest.mark.usefixtures("swapped", "unchanged")
def test_a_swapped_cable_is_named_and_the_spec_mended(cluster: Cluster) -> None:
    spec = cluster.folder / "remapped.yml"
    spec.write_text(SPEC, encoding="utf-8")
    out, err = cluster.run(spec, code=3)
    assert "Cabling: 5 of 9 ports as planned" in out
    assert "n2:int1 is on n0, expected n1\n" in err
    assert "n2:int0 is on n1, expected n0\n" in err
    assert spec.read_text() == SPEC
    out, err = cluster.run(spec, "--fix", "--format", "json")
    assert json.loads(out)["moves"] == [
        {"port": "n2:int0", "before": "int0", "after": "int1"},
        {"port": "n2:int1", "before": "int1", "after": "int0"},
    ]
    assert spec.read_text() == SPEC + (
        "hosts:\n  n2:\n    ports:\n      int0: {name: int1}\n      int1: {name: int0}\n"
    )
    out, _ = cluster.run(spec)
    assert "Cabling: 9 of 9 ports as planned" in out


@pytest.mark.usefixtures("unplugged", "unchanged")
def test_a_dead_cable_has_no_carrier_and_cannot_be_mended(cluster: Cluster) -> None:
    before = cluster.spec.read_text()
    out, err = cluster.run(cluster.spec, "--fix", code=3)
    assert "n0:int1 has no carrier, expected n1:int0" in out
    assert "n1:int0 has no carrier, expected n0:int1" in out
    assert "Cabling: 7 of 9 ports as planned" in out
    assert "n0 and n1: found 0 of 1 planned cable" in err
    assert cluster.spec.read_text() == before


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def up(cluster: Cluster, server: str) -> bool:
    return ",UP" in inside(cluster.lab, server, "ip", "link", "show", "dev", "int2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("unplugged", "unchanged")
def test_an_interrupt_leaves_nothing(cluster: Cluster, number: signal.Signals) -> None:
    """In the middle of the wait for a carrier that never comes."""
    process = cluster.start(cluster.spec)
    wait_for(lambda: up(cluster, "n0") and up(cluster, "n1"))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number is not signal.SIGKILL:
        assert process.returncode == 1
        assert f"interrupted by {number.name}, the ports were restored" in err
    wait_for(lambda: not any(up(cluster, name) for name in ("n0", "n1")))
    wait_for(lambda: not any("rbops" in inside(cluster.lab, name, "ls", "/run") for name in ("n0", "n1", "n2")))


@pytest.mark.parametrize(
    ("change", "exit_code", "code"),
    [
        (lambda hosts: hosts["n1"].update(ansible_port=9), 4, "ssh.no-connection"),
        (lambda hosts: hosts["n1"].update(rbops_known_hosts="/dev/null"), 4, "ssh.host-key-unknown"),
        (lambda hosts: hosts["n1"].update(ansible_python_interpreter="/usr/bin/nopython"), 4, "probe.no-python"),
        (lambda hosts: hosts.update(n1=dict(hosts["n0"])), 3, "probe.same-machine"),
        (lambda hosts: hosts.pop("n1"), 3, "inventory.missing-server"),
    ],
    ids=["unreachable", "unknown key", "no python", "one machine", "absent"],
)  # fmt: skip
@pytest.mark.usefixtures("unchanged")
def test_faults(cluster: Cluster, change: Callable[[dict[str, Any]], None], exit_code: int, code: str) -> None:
    error = cluster.error(cluster.spec, code=exit_code, inventory=cluster.inventory(change))
    assert error["code"] == code


@pytest.mark.usefixtures("unchanged")
def test_a_planned_port_without_a_device_or_with_the_management_one(cluster: Cluster) -> None:
    spec = cluster.folder / "wrong.yml"
    spec.write_text(SPEC + "hosts: {n1: {ports: {int0: {name: eth9}}}}\n")
    assert cluster.error(spec, code=3)["code"] == "discover.no-device"
    spec.write_text(SPEC + "hosts: {n1: {ports: {int0: {name: mgmt0}}}}\n")
    assert cluster.error(spec, code=3)["where"]["server"] == "n1"


@pytest.mark.usefixtures("swapped", "unchanged")
def test_a_new_spec_from_bare_servers(cluster: Cluster) -> None:
    spec = cluster.folder / "new" / "router.yml"
    cluster.run("-o", spec, "--cabling")
    plan = load_plan(spec)
    assert [server.name for server in plan.servers] == ["n0", "n1", "n2"]
    assert {port.name: port.selector.name for port in plan.server("n2").ports if port.peer} == {
        "int0": "int1",
        "int1": "int0",
    }
    assert plan.server("n0").cores.dataplane
    out, _ = cluster.run(spec)
    assert "9 of 9" in out


def test_under_a_loaded_data_plane(cluster: Cluster) -> None:
    """Frames of the check pass the programs on internal and external ports; a spec with two ports exchanged is seen."""
    apply(load_plan(cluster.spec), load_inventory(cluster.lab.inventory), ApplyOptions(), Silent(), Stop())
    before = states(cluster.lab), [programs(cluster.lab, name) for name in ("n0", "n1", "n2")]
    assert all(before[1])
    out, _ = cluster.run(cluster.spec)
    assert "Cabling: 9 of 9 ports as planned" in out
    spec = cluster.folder / "exchanged.yml"
    spec.write_text(SPEC + "hosts: {n2: {ports: {int0: {name: int1}, int1: {name: int0}}}}  # swapped\n")
    _, err = cluster.run(spec, code=3)
    assert "n2:int1 is on n0, expected n1\n" in err
    cluster.run(spec, "--fix")
    assert spec.read_text().endswith("hosts: {n2: {ports: {int0: {name: int0}, int1: {name: int1}}}}  # swapped\n")
    assert (states(cluster.lab), [programs(cluster.lab, name) for name in ("n0", "n1", "n2")]) == before
