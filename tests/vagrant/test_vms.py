"""What containers cannot show: interrupts, boot parameters, modules and boots of kernels of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rbops.plan import Port
from tests.lab.traces import subnet_of
from tests.system.driver import Cluster, Done, wait_for
from tests.vagrant.conftest import LONG_S, cluster

# The first of them makes the machines.
pytestmark = [pytest.mark.vagrant, pytest.mark.root, pytest.mark.timeout(4 * LONG_S)]

SERVERS = ("n0", "n1")


def test_up_says_how_the_machines_run_and_prints_the_inventory(vms: Cluster, steps: dict[str, Done]) -> None:
    if not steps:
        pytest.skip("the machines were there before")
    assert steps["lab up"].out.strip() == str(vms.inventory)
    assert "vagrant up: boot 2 servers" in steps["lab up"].err
    assert vms.lab.manifest.emulated is (", emulated, which takes" in steps["lab up"].err)


def test_the_lab_is_up_and_knows_its_provider(vms: Cluster) -> None:
    found = vms.run("lab", "status", str(vms.spec), "--name", vms.name, "--format", "json")
    assert found.code == 0, found.out + found.err
    assert (found.json["provider"], found.json["state"]) == ("vagrant", "up")
    assert {cable["state"] for cable in found.json["cables"]} == {"up"}
    wrong = vms.run("lab", "status", str(vms.spec), "--name", vms.name, "--provider", "nspawn")
    assert (wrong.code, "was made by vagrant" in wrong.err) == (2, True)


def test_verify_passes_after_a_boot_without_another_apply(vms: Cluster) -> None:
    found = vms.verb("verify", "--format", "json", seconds=LONG_S)
    assert found.code == 0, found.out + found.err
    assert found.json["passed"] is True
    # What virtio cannot be told (coalescing by time, RSS) is left out, with its reason.
    assert set(found.json["counts"]) <= {"passed", "skipped"}


@pytest.mark.parametrize("server", SERVERS)
def test_interrupts_of_every_queue_sit_on_the_planned_core(vms: Cluster, server: str) -> None:
    planned = next(entry for entry in vms.plan.servers if entry.name == server)
    for port in planned.ports:
        assert _affinities(vms, server, port) == {
            **{f"input.{queue.index}": str(queue.rx_core) for queue in port.queues},
            **{f"output.{queue.index}": str(queue.tx_core) for queue in port.queues},
        }


def _affinities(vms: Cluster, server: str, port: Port) -> dict[str, str]:
    """``input.0`` ... of a virtio NIC -> the CPU its interrupt may go to, as the kernel has it."""
    look = (
        f"v=$(basename $(readlink -f /sys/class/net/{port.name}/device)); "
        "grep -E \" $v-(input|output)\" /proc/interrupts | while IFS=': ' read irq rest; do "
        'echo "${rest##*-} $(cat /proc/irq/$irq/smp_affinity_list)"; done'
    )
    return dict(line.split() for line in vms.on(server, "sh", "-c", look).splitlines())


@pytest.mark.parametrize("server", SERVERS)
def test_boot_parameters_and_the_module_option_are_in_force(vms: Cluster, server: str) -> None:
    said = vms.on(server, "cat", "/proc/cmdline").split()
    for parameter in ("isolcpus=managed_irq,domain,2-3", "nohz_full=2-3", "rcu_nocbs=2-3", "irqaffinity=0-1"):
        assert parameter in said
    assert "mitigations=off" in said
    assert vms.on(server, "cat", "/sys/devices/system/cpu/isolated").strip() == "2-3"
    assert vms.on(server, "cat", "/sys/module/virtio_net/parameters/napi_weight").strip() == "32"


def test_packets_are_forwarded_through_the_machines(vms: Cluster) -> None:
    """Each one that was sent arrives, whole and where it belongs.

    Some may be late: a multi-queue tap moves a flow to the queue on which the machine sends one of the same hash.
    """
    found = vms.verb("selftest", "--format", "json", seconds=600)
    assert {fault["kind"] for fault in found.json["faults"]} <= {"late"}, found.out + found.err
    for phase in found.json["phases"]:
        assert all(pair["received"] == pair["sent"] > 0 for pair in phase["pairs"])


def test_both_queues_of_every_port_served_their_core(vms: Cluster) -> None:
    """After the self-test: interrupts came in on the planned cores, and next to none elsewhere."""
    for server in SERVERS:
        planned = next(entry for entry in vms.plan.servers if entry.name == server)
        counts = _interrupts(vms, server)
        for port in planned.ports:
            device = vms.on(server, "sh", "-c", f"basename $(readlink -f /sys/class/net/{port.name}/device)").strip()
            for queue in port.queues:
                served = counts[f"{device}-input.{queue.index}"]
                assert served[queue.rx_core] > 0
                assert served[queue.rx_core] > 0.9 * sum(served)


def _interrupts(vms: Cluster, server: str) -> dict[str, list[int]]:
    found: dict[str, Any] = {}
    for line in vms.on(server, "cat", "/proc/interrupts").splitlines():
        match = re.match(r"\s*\d+:((?:\s+\d+)+)\s+.*\s(virtio\d+-\S+)$", line)
        if match:
            found[match[2]] = [int(count) for count in match[1].split()]
    return found


def test_a_machine_without_power_is_off_and_comes_back_with_all_settings(vms: Cluster) -> None:
    vms.lab.kill("n1")
    off = vms.lab.status()
    assert (off.state, [server.running for server in off.servers]) == ("degraded", [True, False])
    assert {cable.state for cable in off.cables if "n1" in cable.a + cable.b} == {"unplugged"}
    assert vms.on("n0", "cat", "/sys/class/net/int1/carrier").strip() == "0"
    vms.lab.restart("n1")
    assert vms.on("n0", "cat", "/sys/class/net/int1/carrier").strip() == "1"
    assert vms.lab.status().state == "up"
    assert vms.on("n1", "rbops-node", "diff").strip() == ""


def test_vagrant_takes_the_section_for_virtualbox_too(vms: Cluster, tmp_path: Path) -> None:
    """VirtualBox itself is not here: a program of its name that knows its version lets Vagrant look at the section."""
    (tmp_path / "VBoxManage").write_text("#!/bin/sh\necho 6.1.40r154048\n", encoding="ascii")
    (tmp_path / "VBoxManage").chmod(0o755)
    shutil.copy(vms.lab.directory / "Vagrantfile", tmp_path)
    for server in SERVERS:
        (tmp_path / "servers" / server).mkdir(parents=True)
        (tmp_path / "servers" / server / "provision.sh").touch()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DEFAULT_PROVIDER": "virtualbox",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
    }
    done = subprocess.run(
        ["vagrant", "validate"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupted_up_leaves_nothing(tmp_path: Path) -> None:
    found = cluster(tmp_path, "rbt-vm2-cut")
    with found.start("lab", "up", str(found.spec), "--name", found.name, "--provider", "vagrant") as running:
        running.wait_for("vagrant up: boot 2 servers", 300)
        subnet = subnet_of(found.name)
        log = Path("/var/lib/rbops/labs", found.name, "vagrant.log")
        wait_for("a machine starts", lambda: "Starting domain" in log.read_text(encoding="utf-8"), 300)
        running.press_ctrl_c()
        done = running.end()
    assert done.code != 0
    assert "remove what was built" in done.err
    assert found.left_behind(subnet) == []


def test_down_leaves_nothing(vms: Cluster) -> None:
    subnet = subnet_of(vms.name)
    done = vms.run("lab", "down", str(vms.spec), "--name", vms.name)
    assert done.code == 0, done.err
    assert vms.left_behind(subnet) == []
