"""Profiles, and hardware that a spec describes."""

from __future__ import annotations

import pytest

from rbops import hardware
from rbops.hardware.model import Machine
from rbops.hardware.modern import logical_cores
from rbops.hardware.pcie import slot_bps
from rbops.spec import hardware as model
from rbops.topology.slots import external_capacity

G = 1_000_000_000


def test_the_papers_server() -> None:
    """Section 4.1, Tables 2 and 3."""
    machine = hardware.profile("nehalem")
    parts = machine.components
    assert (machine.sockets, len(machine.cores), machine.clock_hz) == (2, 8, 2_800_000_000)
    assert [slot.options[0].rate_bps for slot in machine.slots] == [12_300_000_000] * 2
    bounds = [
        (part.nominal_bps, part.empirical_bps)
        for part in (parts.memory, parts.io, parts.inter_socket, parts.pcie)
        if part
    ]
    assert bounds == [(410 * G, 262 * G), (400 * G, 117 * G), (200 * G, 144_340_000_000), (64 * G, 50_800_000_000)]
    table3 = [(cost.app, cost.instructions, cost.cycles_per_instruction) for cost in machine.costs]
    assert table3 == [("forward", 1033, 1.19), ("route", 1512, 1.23), ("ipsec", 14221, 0.55)]
    assert (machine.power_w, machine.price_usd, machine.rack_units) == (650, 3625, 1)


@pytest.mark.parametrize("name", hardware.names())
def test_every_profile_is_whole(name: str) -> None:
    machine = hardware.profile(name)
    assert machine.source
    assert len({core.id for core in machine.cores}) == len(machine.cores)
    assert max(core.id for core in machine.cores) < machine.possible_cpus
    assert {cost.app for cost in machine.costs} == {"forward", "route", "ipsec"}
    assert external_capacity(machine, G) >= 1


def test_servers_of_today_come_in_all_kinds() -> None:
    today = [hardware.profile(name) for name in hardware.names() if "-" in name]
    assert len(today) >= 4
    assert {machine.sockets for machine in today} == {1, 2}
    assert {machine.slots[0].options[0].port_rate_bps // G for machine in today} == {10, 25, 100}
    assert {machine.name.split("-")[0] for machine in today} == {"xeon", "epyc"}
    assert not any(machine.calibrated for machine in today)


def test_an_unknown_profile() -> None:
    with pytest.raises(KeyError):
        hardware.profile("cray")


def test_linux_numbers_second_threads_last() -> None:
    cores = logical_cores(2, 2, 2)
    assert [(core.id, core.socket, core.core) for core in cores] == [
        (0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 0, 0), (5, 0, 1), (6, 1, 0), (7, 1, 1),
    ]  # fmt: skip


def test_sub_numa_nodes_divide_a_socket() -> None:
    assert [core.numa_node for core in logical_cores(1, 4, 1, 2)] == [0, 0, 1, 1]


def test_inline_hardware() -> None:
    described = model.Hardware(
        sockets=1,
        cores_per_socket=4,
        threads_per_core=2,
        clock_hz=3 * G,
        nics=(
            model.Nic("ice", 2, 25 * G, 32, slot="pcie1", achievable_bps=40 * G),
            model.Nic("igb", 2, G, 8, devices=(model.Device("eno1", management=True), model.Device("eno2"))),
            model.Nic("igb", 1, G, 8, devices=(model.Device("eno3", management=True),)),
        ),
        slots=(model.Slot("pcie1", 4, 8, numa_node=1),),
        offline=(3, 7),
        housekeeping=(0, 4),
        bounds=model.Bounds(memory=model.Bound(400 * G, 200 * G), pcie=model.Bound(64 * G)),
        rack_units=2,
    )
    machine = hardware.machine(described)
    assert [core.id for core in machine.cores] == [0, 1, 2, 4, 5, 6]
    assert [(slot.options[0].ports, slot.numa_node) for slot in machine.slots] == [(2, 1), (1, None)]
    assert machine.housekeeping == (0, 4)
    assert machine.components.memory is not None
    assert machine.components.memory.usable_bps == 200 * G
    assert machine.components.pcie is not None
    assert machine.components.pcie.usable_bps == 64 * G
    assert machine.components.io is None
    assert (machine.possible_cpus, machine.rack_units, machine.calibrated) == (8, 2, False)


def in_slots(*places: model.Slot, slot: str | None = "s") -> Machine:
    nics = (model.Nic("ixgbe", 2, 10 * G, 16, slot=slot),)
    return hardware.machine(model.Hardware(sockets=1, cores_per_socket=4, clock_hz=G, nics=nics, slots=places))


def test_a_slot_limits_its_card_as_in_the_paper() -> None:
    """4.1: eight lanes of PCIe 1.1 carry 12.8 Gbps of payload, which two ports of 10 Gbps share."""
    machine = in_slots(model.Slot("s", 1, 8))
    assert machine.slots[0].options[0].rate_bps == 12_800_000_000
    assert machine.components.pcie is not None
    assert (machine.components.pcie.nominal_bps, machine.components.pcie.usable_bps) == (32 * G, 25_600_000_000)
    assert in_slots(model.Slot("s", 3, 8)).slots[0].options[0].rate_bps == 20 * G


def test_an_unknown_slot_limits_nothing() -> None:
    machine = in_slots(slot=None)
    assert (machine.slots[0].options[0].rate_bps, machine.components.pcie) == (20 * G, None)


@pytest.mark.parametrize(("generation", "gbps"), [(1, 2.0), (2, 4.0), (3, 7.877), (4, 15.754), (5, 31.508), (6, 60.5)])
def test_lanes(generation: int, gbps: float) -> None:
    assert slot_bps(generation, 1) == pytest.approx(gbps * G, rel=1e-4)
    assert slot_bps(generation, 16) == pytest.approx(16 * slot_bps(generation, 1), rel=1e-9)


def test_discovered_cpu_ids_are_taken_as_they_are() -> None:
    cpus = tuple(model.Cpu(number, 0, place, 0) for place, number in enumerate((0, 2, 129)))
    machine = hardware.machine(
        model.Hardware(sockets=1, cores_per_socket=3, clock_hz=G, nics=(model.Nic("veth", 1, G, 1),), cpus=cpus)
    )
    assert [core.id for core in machine.cores] == [0, 2, 129]
    assert machine.possible_cpus == 130
