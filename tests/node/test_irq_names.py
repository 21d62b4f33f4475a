"""Every driver's way of naming the vectors of its queues."""

from __future__ import annotations

import pytest

from rbops.node.irq import Interrupt, places, queue_of, read, settings
from tests.node.recorded import Recorded, config, external


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("eth0-TxRx-3", ("both", 3)),
        ("enp3s0f0-TxRx-12", ("both", 12)),
        ("i40e-ens2f1-TxRx-0", ("both", 0)),
        ("ice-ens801f0-TxRx-63", ("both", 63)),
        ("eth0-Tx-Rx-7", ("both", 7)),
        ("ens192-rxtx-2", ("both", 2)),
        ("eth1-rx-1", ("rx", 1)),
        ("eth1-tx-1", ("tx", 1)),
        ("mlx5_comp3@pci:0000:03:00.0", ("both", 3)),
        ("virtio0-input.1", ("rx", 1)),
        ("virtio0-output.0", ("tx", 0)),
        ("virtio0-config", None),
        ("mlx5_async0@pci:0000:03:00.0", None),
        ("i40e-0000:03:00.1:misc", None),
        ("ens192-event-4", None),
        ("eth0", None),
        ("iavf-eth0-TxRx-2", ("both", 2)),
        ("idpf-eth0-TxRx-5", ("both", 5)),
        ("hns3-0000:7d:00.0-TxRx-3", ("both", 3)),
        ("ens1f0-fp-0", ("both", 0)),
        ("eth0-rxtx3", ("both", 3)),
        ("eth0-Rx3", ("rx", 3)),
        ("eth0:rx-2", ("rx", 2)),
        ("eth0:tx-2", ("tx", 2)),
        ("eth0_rxq3", ("rx", 3)),
        ("eth0-q4", ("both", 4)),
        ("eth0-q1-rx", ("rx", 1)),
        ("eth0-q1-tx", ("tx", 1)),
        ("mana_q7@pci:7870:00:00.0", ("both", 7)),
        ("i40e-0000:03:00.0:fdir-TxRx-0", None),
        ("ens1f0-xdp-3", None),
        ("iavf-0000:03:02.0:mbx", None),
        ("ena-mgmnt@pci:0000:00:05.0", None),
        ("eth0-err", None),
        ("eth0-0", None),
        ("virtio0-virtqueues", None),
    ],
)
def test_queue(name: str, queue: tuple[str, int] | None) -> None:
    assert queue_of(name) == queue


@pytest.mark.parametrize(
    ("driver", "name", "queue"),
    [
        ("sfc", "ext0-0", ("both", 0)),
        ("sfc", "ext0-rx-2", ("rx", 2)),
        ("sfc_siena", "ext0-3", ("both", 3)),
        ("sfc", "ext0-xdp-0", None),
        ("tg3", "eth0-tx-0", None),
        ("tg3", "eth0-txrx-1", ("both", 0)),
        ("tg3", "eth0-rx-4", ("rx", 3)),
        ("bnx2x", "ext0", None),
        ("bnx2x", "ext0-fp-7", ("both", 7)),
    ],
)
def test_drivers_that_mean_something_else(driver: str, name: str, queue: tuple[str, int] | None) -> None:
    assert queue_of(name, driver) == queue


def vectors(*names: str) -> tuple[Interrupt, ...]:
    return tuple(Interrupt(40 + at, name, frozenset({9}), frozenset({9})) for at, name in enumerate(names))


@pytest.mark.parametrize("form", ["gve-ntfy-blk{}@pci:0000:00:04.0", "ens4-ntfy-block.{}"])
def test_gve_transmits_on_the_first_half(form: str) -> None:
    facts = vectors("gve-mgmnt@pci:0000:00:04.0", *(form.format(block) for block in range(4)))
    assert [(way, queue) for _, way, queue in places(facts, "gve")] == [("tx", 0), ("tx", 1), ("rx", 0), ("rx", 1)]


def port(driver: str):  # type: ignore[no-untyped-def]
    return config(ports=[external(driver=driver)]).ports[0]


def test_a_flow_director_vector_is_left_alone() -> None:
    facts = vectors("i40e-eth0-TxRx-0", "i40e-eth0-TxRx-1", "i40e-0000:03:00.0:fdir-TxRx-0")
    assert [setting.name for setting in settings(port("i40e"), facts)] == ["irq 0", "irq 1"]
    assert not any("/42/" in str(setting) for setting in settings(port("i40e"), facts))


@pytest.mark.parametrize(
    ("driver", "facts", "reason"),
    [
        (
            "newnic",
            vectors("a b c", "eth0.0", "eth0.1", "eth0.2", "eth0.3"),
            (
                "driver newnic: no interrupt is known as theirs (its interrupts are a b c, eth0.0, eth0.1, eth0.2, "
                "...), so they stay where they are"
            ),
        ),
        (
            "hv_netvsc",
            (),
            (
                "driver hv_netvsc: no interrupt is known as theirs (the device shows no interrupts), so they stay "
                "where they are"
            ),
        ),
    ],
)
def test_queues_without_a_known_interrupt_are_told(driver: str, facts: tuple[Interrupt, ...], reason: str) -> None:
    (told,) = settings(port(driver), facts)
    assert (told.name, told.have, told.want) == ("irq", "unknown", "queues 0-1 on CPUs 0-1")
    assert told.unsupported == reason


def test_a_veth_has_no_interrupts() -> None:
    assert settings(port("veth"), ()) == []


def test_vectors_without_msi_are_found_by_name() -> None:
    text = (
        "           CPU0       CPU1\n"
        " 60:          5          0  xen-dyn    -event     eth0-q0-tx\n"
        " 61:          5          0  xen-dyn    -event     eth0-q0-rx\n"
        " 62:          5          0  xen-dyn    -event     eth01-q0-rx\n"
        " 63:          5          0  xen-dyn    -event     blkif\n"
    )
    system = Recorded(files={"/proc/interrupts": text}, drivers={"eth0": "vif"})
    assert [(way, queue) for _, way, queue in places(read(system, "eth0"), "vif")] == [("tx", 0), ("rx", 0)]
    assert read(Recorded(files={"/proc/interrupts": text}, drivers={"eth0": "veth"}), "eth0") == ()
