"""Every driver's way of naming the vectors of its queues."""

from __future__ import annotations

import pytest

from rbops.node.irq import queue_of


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
    ],
)
def test_queue(name: str, queue: tuple[str, int] | None) -> None:
    assert queue_of(name) == queue
