"""Cores and queues: both rules by construction, on any server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops import hardware
from rbops.affinity.cores import Assignment, CorePolicy, assign
from rbops.hardware.model import Card, Core, Machine
from rbops.hardware.modern import logical_cores
from rbops.nic.drivers import driver

G = 1_000_000_000
LAB = hardware.profile("lab")


def machine(cores: tuple[Core, ...], **more: object) -> Machine:
    return replace(LAB, cores=cores, possible_cpus=1 + max(core.id for core in cores), **more)  # type: ignore[arg-type]


def made(server: Machine, name: str = "veth", queues: int = 64, **more: object) -> Assignment:
    nodes = more.pop("nodes", frozenset())
    policy = CorePolicy(**{"xdp": True} | more)  # type: ignore[arg-type]
    return assign(server, (Card(name, 2, 10 * G, queues),), policy, server="n0", nodes=nodes)  # type: ignore[arg-type]


def test_the_lab_uses_both_cpus() -> None:
    found = made(LAB, queues=2)
    assert found.cores.dataplane == (0, 1)
    assert found.cores.housekeeping == ()
    assert [(queue.index, queue.rx_core, queue.tx_core) for queue in found.queues] == [(0, 0, 0), (1, 1, 1)]


@given(
    sockets=st.integers(1, 2),
    cores=st.integers(1, 48),
    threads=st.integers(1, 2),
    reserve=st.integers(0, 2),
    queues=st.integers(1, 128),
    name=st.sampled_from(("veth", "ice", "mlx5_core", "ixgbe", "i40e", "virtio_net")),
    dataplane=st.sampled_from(("xdp", "click")),
)
def test_each_queue_has_one_core_and_each_path_too(
    sockets: int, cores: int, threads: int, reserve: int, queues: int, name: str, dataplane: str
) -> None:
    if reserve >= sockets * cores:
        return
    server = machine(logical_cores(sockets, cores, threads), reserve=reserve)
    found = made(server, name, queues, xdp=dataplane == "xdp")
    chosen = found.cores.dataplane
    assert len(set(chosen)) == len(chosen) <= queues
    assert not set(chosen) & set(found.cores.housekeeping)
    assert [queue.index for queue in found.queues] == list(range(len(found.queues)))
    assert len(found.queues) <= queues
    first = [queue.rx_core for queue in found.queues[: len(chosen)]]
    assert len(set(first)) == len(first), "frames are spread over the first queues, one a core"
    assert {queue.rx_core for queue in found.queues} == {queue.tx_core for queue in found.queues} == set(chosen)
    places = {core.id: (core.socket, core.core) for core in server.cores}
    assert len({places[cpu] for cpu in chosen}) == len(chosen), "two threads of one core carry packets"
    if dataplane == "xdp" and driver(name).xdp_ring_by_cpu:
        assert all(found.queues[cpu].tx_core == cpu for cpu in chosen)


def test_smt_siblings_stay_idle_and_follow_housekeeping() -> None:
    found = made(machine(logical_cores(1, 4, 2), reserve=1))
    assert found.cores.dataplane == (1, 2, 3)
    assert found.cores.housekeeping == (0, 4)


def test_housekeeping_asked_for_is_kept() -> None:
    found = made(machine(logical_cores(1, 4, 2), housekeeping=(2,)))
    assert found.cores.housekeeping == (2,)
    assert found.cores.dataplane == (0, 1, 3)


def test_rings_by_cpu_id_take_the_low_ids() -> None:
    found = made(machine(logical_cores(1, 8, 1), reserve=1), "ice", 8)
    assert found.cores.dataplane == (0, 1, 2, 3, 4, 5, 6)
    assert found.cores.housekeeping == (7,)


def test_cpu_ids_above_the_rings_carry_nothing() -> None:
    cores = tuple(Core(cpu, 0, place, 0) for place, cpu in enumerate((1, 3, 66, 130)))
    found = made(machine(cores), "mlx5_core", 64)
    assert found.cores.dataplane == (1, 3)
    assert len(found.queues) == 4
    assert [queue.tx_core for queue in found.queues] == [1, 1, 1, 3]
    assert "CPUs 64 and up carry no packets" in found.notes[0]


def test_offline_cpus_leave_gaps_elsewhere() -> None:
    cores = tuple(Core(cpu, 0, place, 0) for place, cpu in enumerate((0, 70, 200)))
    assert made(machine(cores)).cores.dataplane == (0, 70, 200)


def test_no_low_cpu_id_is_said() -> None:
    found = made(machine((Core(70, 0, 0, 0),)), "ice", 64)
    assert [(one.rule, one.predicted_loss) for one in found.violations] == [("rule1", 1.0)]
    assert "XDP redirect fails" in found.violations[0].detail
    assert made(machine((Core(70, 0, 0, 0),)), "ice", 64, xdp=False).violations == ()


def test_fewer_queues_than_cores_cost_cores() -> None:
    found = made(machine(logical_cores(1, 8, 1)), "igb", 4)
    assert found.cores.dataplane == (0, 1, 2, 3)
    assert found.violations == ()
    assert "8 cores but 4 queues" in found.notes[0]


def test_sharing_queues_must_be_allowed_and_costs_what_fig6_says() -> None:
    found = made(machine(logical_cores(1, 8, 1)), "igb", 4, allow=("shared-queues",))
    assert len(found.cores.dataplane) == 8
    assert [(one.rule, one.predicted_loss) for one in found.violations] == [("rule1", pytest.approx(0.588))]


@pytest.mark.parametrize(("cpus", "loss"), [(64, None), (72, 0.588), (130, 1.0)])
def test_ixgbe_locks_or_refuses_with_many_cpus(cpus: int, loss: float | None) -> None:
    found = made(replace(machine(logical_cores(2, 16, 1)), possible_cpus=cpus), "ixgbe")
    assert [one.predicted_loss for one in found.violations] == ([] if loss is None else [loss])
    assert made(replace(machine(logical_cores(2, 16, 1)), possible_cpus=cpus), "ixgbe", xdp=False).violations == ()


def test_numa_prefers_the_cards_node() -> None:
    server = machine(logical_cores(2, 4, 1))
    near = made(server, queues=4, near_nic=True, nodes=frozenset({1}))
    assert near.cores.dataplane == (4, 5, 6, 7)
    assert made(server, queues=4, near_nic=False, nodes=frozenset({1})).cores.dataplane == (0, 1, 2, 3)


def test_a_server_without_a_core_for_packets_is_refused() -> None:
    with pytest.raises(ValueError, match="no CPU left"):
        made(machine((Core(0, 0, 0, 0),), housekeeping=(0,)))


def test_virtio_cores_own_the_rings_that_xdp_takes_by_cpu_id_modulo_rings() -> None:
    found = made(hardware.profile("vagrant"), "virtio_net", 2)
    assert (found.cores.dataplane, found.cores.housekeeping) == ((2, 3), (0, 1))
    assert [(queue.index, queue.rx_core, queue.tx_core) for queue in found.queues] == [(0, 2, 2), (1, 3, 3)]
    odd = made(replace(hardware.profile("vagrant"), reserve=1), "virtio_net", 2)
    assert [(queue.index, queue.rx_core, queue.tx_core) for queue in odd.queues] == [(0, 1, 2), (1, 2, 1)]
    assert found.violations == odd.violations == ()


def test_virtio_cores_that_would_share_a_ring_are_a_breach_with_its_cost() -> None:
    server = machine((Core(0, 0, 0, 0), Core(1, 0, 1, 0), Core(2, 0, 2, 0)), housekeeping=(1,))
    found = made(server, "virtio_net", 2)
    assert [violation.rule for violation in found.violations] == ["rule1"]
    assert "CPU id modulo 2, so of CPUs 0, 2 some share a ring" in found.violations[0].detail
    assert made(server, "virtio_net", 2, xdp=False).violations == ()
