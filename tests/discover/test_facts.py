"""Facts of three recorded machines, and the hardware that plans are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbops import hardware
from rbops.errors import Mismatch
from rbops.hardware.facts import data_nics, describe
from rbops.node import session
from rbops.node.facts import Facts, from_json, to_json
from rbops.node.gather import gather
from tests.discover.machines import MACHINES, SESSION, FakeRoot, intel
from tests.node.recorded import Recorded
from tests.support.errors import raises


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, FakeRoot]:
    return request.param, MACHINES[request.param](tmp_path)


def facts(name: str, folder: Path) -> Facts:
    return gather(MACHINES[name](folder), SESSION)


def test_facts_only_read(machine: tuple[str, FakeRoot]) -> None:
    gather(machine[1], SESSION)
    words = {line.split()[1] for line in machine[1].ran if line.startswith("ethtool")}
    assert words - {found.device for found in gather(machine[1], SESSION).nics} <= {"-i", "-P", "-l"}
    assert {line.split()[0] for line in machine[1].ran} == {"ip", "ethtool", "systemd-detect-virt", "uname"}


def test_json_loses_nothing(machine: tuple[str, FakeRoot]) -> None:
    found = gather(machine[1], SESSION)
    assert from_json(json.loads(json.dumps(to_json(found)))) == found


def test_two_sockets_with_smt_and_ids_past_64(tmp_path: Path) -> None:
    found = facts("intel", tmp_path)
    assert found.online == tuple(range(80))
    assert found.cpus[79].socket == 1
    assert found.cpus[79].siblings == (39, 79)
    assert (found.clock_hz, found.clock_source) == (2_000_000_000, "the model's name")
    assert [(node.id, len(node.cpus), node.memory_bytes) for node in found.nodes] == [
        (0, 40, 98_304_000 * 1024),
        (1, 40, 98_304_000 * 1024),
    ]
    assert [(pool.size_bytes, pool.total, pool.free) for pool in found.hugepages] == [(1 << 30, 4, 3)]
    features = {feature.name: feature.available for feature in found.kernel.features}
    assert features["nohz_full"] is True
    assert features["af_xdp"] is False
    assert features["threaded napi"] is True
    assert features["bpf"] is True


def test_management_is_found_below_vlan_and_bond(tmp_path: Path) -> None:
    nics = {nic.device: nic for nic in facts("intel", tmp_path).nics}
    assert nics["eno1"].management == "it is below bond0: it is below vlan7: the SSH session runs over it"
    assert nics["eno1"].part_of == "bond0"
    assert [name for name, nic in nics.items() if nic.management] == ["eno1"]
    assert "bond0" not in nics


def test_a_nics_facts(tmp_path: Path) -> None:
    nic = next(nic for nic in facts("intel", tmp_path).nics if nic.device == "ens2f1")
    assert (nic.driver, nic.firmware, nic.pci, nic.pci_id) == ("ixgbe", "0x800003df", "0000:86:00.1", "8086:10fb")
    assert (nic.numa_node, nic.slot, nic.mac) == (1, None, "a0:36:9f:00:01:01")
    assert [(link.address, link.speed_gts, link.lanes, link.max_lanes) for link in nic.links] == [
        ("0000:86:00.1", 5.0, 4, 8),
        ("0000:85:02.0", 5.0, 4, 4),
    ]
    assert (nic.supported_bps, nic.speed_bps, nic.max_channels.pairs) == (10_000_000_000, 10_000_000_000, 63)


def test_hardware_of_two_sockets(tmp_path: Path) -> None:
    made = describe("n0", facts("intel", tmp_path))
    found = made.hardware
    assert (found.sockets, found.cores_per_socket, found.threads_per_core, found.numa_nodes) == (2, 20, 2, None)
    assert found.l3_bytes_per_socket == 28160 * 1024
    assert {cpu.id: (cpu.socket, cpu.core, cpu.numa_node) for cpu in found.cpus}[79] == (1, 19, 1)
    cards = {nic.devices[0].name: nic for nic in found.nics}
    # RSS of the 82599 ends at 16 queues, though ethtool allows 63.
    assert (cards["ens1f0"].queues, cards["ens1f0"].ports, cards["ens1f0"].slot) == (16, 2, "slot3")
    assert cards["eno1"].devices[0].management
    assert {slot.name: (slot.generation, slot.lanes, slot.numa_node) for slot in found.slots} == {
        "0000:01:00": (2, 4, 0),
        "slot3": (2, 8, 0),
        "0000:86:00": (2, 4, 1),
    }
    narrow = [note for note in made.notes if "narrow" in note]
    # Four lanes of PCIe 2 are 16 Gbps, 12.8 with headers taken off.
    assert narrow == [
        (
            "ens2f0, ens2f1: the slot of 0000:86:00.0 is too narrow: PCIe 2.0 x4 carries 12.8 Gbps, "
            "2 x 10 Gbps need 20: 7.2 Gbps short; the card has PCIe 2.0 x8"
        )
    ]


def test_the_narrowest_link_on_the_way_counts(tmp_path: Path) -> None:
    root = intel(tmp_path)
    root.put("sys/devices/pci0000:17/0000:17:00.0/current_link_width", 1)
    made = describe("n0", gather(root, SESSION))
    assert [note for note in made.notes if "slot 3" in note] == [
        (
            "ens1f0, ens1f1: slot 3 is too narrow: PCIe 2.0 x1 carries 3.2 Gbps, 2 x 10 Gbps need 20: "
            "16.8 Gbps short; narrow at 0000:17:00.0, above the card"
        )
    ]


def test_hardware_of_one_socket_with_offline_cpus(tmp_path: Path) -> None:
    made = describe("n1", facts("amd", tmp_path))
    found = made.hardware
    assert (found.sockets, found.cores_per_socket, found.numa_nodes, found.offline) == (1, 14, 4, (14, 15))
    assert found.clock_hz == 3_000_000_000
    assert found.l3_bytes_per_socket == 4 * 32 << 20
    ice, mlx5 = sorted(found.nics, key=lambda nic: nic.driver)
    assert (ice.ports, ice.port_rate_bps, ice.queues, ice.slot) == (4, 25_000_000_000, 16, "slot5")
    assert (mlx5.ports, mlx5.port_rate_bps, mlx5.queues) == (2, 100_000_000_000, 14)
    assert next(slot for slot in found.slots if slot.name == mlx5.slot).numa_node is None
    assert any("NUMA node unknown" in note and "enp129s0f0np0" in note for note in made.notes)
    assert any("150" in note or "149.6 Gbps short" in note for note in made.notes if "narrow" in note)


def test_hardware_of_a_virtual_machine(tmp_path: Path) -> None:
    made = describe("n2", facts("vm", tmp_path))
    found = made.hardware
    assert (found.sockets, found.cores_per_socket, found.slots) == (2, 1, ())
    assert [(nic.port_rate_bps, nic.queues, nic.slot) for nic in found.nics] == [(10**10, 2, None)] * 2
    assert [device.management for nic in found.nics for device in nic.devices] == [True, False]
    assert [nic.device for nic in data_nics(facts("vm", tmp_path / "again"))] == ["enp1s0"]
    assert any("reports no speed" in note for note in made.notes)


def test_hardware_becomes_a_machine(machine: tuple[str, FakeRoot]) -> None:
    found = describe("n0", gather(machine[1], SESSION)).hardware
    made = hardware.machine(found)
    assert len(made.cores) == len(gather(machine[1], SESSION).online)
    assert made.possible_cpus == {"intel": 80, "amd": 16, "vm": 2}[machine[0]]
    assert sum(slot.options[0].ports for slot in made.slots) == {"intel": 4, "amd": 6, "vm": 1}[machine[0]]


def test_a_slower_link_is_planned_with(tmp_path: Path) -> None:
    root = MACHINES["amd"](tmp_path)
    root.answers["ethtool enp65s0f1"] = root.answers["ethtool enp65s0f1"].replace("25000Mb/s", "10000Mb/s")
    made = describe("n1", gather(root, SESSION))
    assert next(nic for nic in made.hardware.nics if nic.driver == "ice").port_rate_bps == 10_000_000_000
    assert any("linked at 10 of 25 Gbps" in note for note in made.notes)


def test_bond_members_and_virtual_functions_are_left_out(tmp_path: Path) -> None:
    root = MACHINES["amd"](tmp_path)
    root.link("sys/class/net/enp65s0f0/master", "sys/devices/virtual/net/br0")
    root.link("sys/class/net/enp65s0f1/device/physfn", "sys/devices/pci0000:40/0000:40:01.1/0000:41:00.3")
    made = describe("n1", gather(root, {}))
    assert next(nic for nic in made.hardware.nics if nic.driver == "ice").ports == 2
    assert "enp65s0f0 is part of br0: ignored" in made.notes
    assert "enp65s0f1 is an SR-IOV function: ignored" in made.notes


def test_a_clock_that_only_the_driver_of_frequencies_knows(tmp_path: Path) -> None:
    root = MACHINES["vm"](tmp_path)
    root.put("proc/cpuinfo", "processor : 0")
    root.put("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", 3_000_000)
    made = describe("n2", gather(root, {}))
    assert made.hardware.clock_hz == 3_000_000_000
    assert any("with boost" in note for note in made.notes)


def test_a_server_without_a_nic_is_refused(tmp_path: Path) -> None:
    root = MACHINES["vm"](tmp_path)
    root.links.clear()
    with raises(Mismatch, "hardware.no-nic", server="n2"):
        describe("n2", gather(root, {}))


def test_the_session_is_found_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getppid", lambda: 30)
    system = Recorded(
        files={
            "/proc/30/environ": "SUDO_USER=op\0PATH=/bin",
            "/proc/30/status": "Name:\tsudo\nPPid:\t20",
            "/proc/20/environ": "SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22\0HOME=/home/op",
        }
    )
    assert session.environment(system, {})["SSH_CONNECTION"] == "192.0.2.1 1 192.0.2.2 22"
    assert session.environment(system, {"SSH_CONNECTION": "own"}) == {"SSH_CONNECTION": "own"}


@pytest.mark.parametrize("arm", [False, True])
def test_slower_cores_are_kept_for_housekeeping(tmp_path: Path, *, arm: bool) -> None:
    """Intel's efficiency cores and Arm's: no plan has packets wait for the slowest core."""
    root = MACHINES["vm"](tmp_path)
    online = gather(root, SESSION).online
    last = online[-1]
    if arm:
        for cpu in online:
            root.put(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", 446 if cpu == last else 1024)
    else:
        root.put("sys/devices/cpu_core/cpus", f"0-{last - 1}")
        root.put("sys/devices/cpu_atom/cpus", last)
    found = describe("n0", gather(root, SESSION))
    assert found.hardware.housekeeping == (last,)
    (told,) = (note for note in found.notes if "cores of two kinds" in note)
    assert told.startswith(f"cores of two kinds: CPUs {last} are the slower ones")


def test_alike_cores_are_all_planned_with(tmp_path: Path) -> None:
    root = MACHINES["vm"](tmp_path)
    for cpu in gather(root, SESSION).online:
        root.put(f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", 1024)
    assert describe("n0", gather(root, SESSION)).hardware.housekeeping is None
