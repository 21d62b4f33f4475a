"""Each driver's way of counting by queue, and the kernel's by CPU."""

from __future__ import annotations

import pytest

from rbops.node import queues
from rbops.node.system import Done
from tests.node.recorded import Recorded, config, internal

VMXNET3 = """NIC statistics:
     Tx Queue#: 0
       TSO pkts tx: 5
       ucast pkts tx: 7114
     Rx Queue#: 0
       LRO pkts rx: 0
       ucast pkts rx: 440
       ucast bytes rx: 33973
       mcast pkts rx: 2
       bcast pkts rx: 45
       drv dropped rx total: 0
          err: 0
     Rx Queue#: 1
       ucast pkts rx: 9
       mcast pkts rx: 0
       bcast pkts rx: 0
     tx timeout count: 0
"""


_MORE = ("ena", "bnxt_en", "gve", "nfp", "be2net", "qede", "nicvf", "atlantic", "mana", "stmmac", "hns3", "Xen")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "     rx_packets: 99\n     rx_queue_0_packets: 7\n     rx_queue_1_packets: 8\n     tx_queue_0_packets: 3",
            {0: 7, 1: 8},
        ),
        ("     rx-0.packets: 7\n     rx-0.bytes: 700\n     rx-10.packets: 1\n     tx-0.packets: 3", {0: 7, 10: 1}),
        ("     rx-0.rx_packets: 7\n     tx-0.tx_packets: 3", {0: 7}),
        (
            "rx_packets: 9\nrx_xdp_drop: 4\nrx0_packets: 1\nrx0_xdp_drop: 2\nrx0_xdp_redirect: 30\nrx1_packets: 5",
            {0: 33, 1: 5},
        ),
        (
            "     peer_ifindex: 18\n     rx_queue_0_xdp_packets: 12\n     rx_queue_0_xdp_redirect: 12",
            {0: 12},
        ),
        ("     rx_queue_0_packets: 12\n     rx_queue_0_xdp_packets: 11\n     rx_queue_0_kicks: 3", {0: 12}),
        ("     rx_xdp_packets: 5\n     rx0_drops: 0\n     rx0_xdp_packets: 5\n     rx0_kicks: 2517", {0: 5}),
        (VMXNET3, {0: 487, 1: 9}),
        ("     rx_packets: 9\n     tx_packets: 8", {}),
        (
            "     queue_0_tx_cnt: 4\n     queue_0_rx_cnt: 7\n     queue_1_rx_cnt: 8\n     queue_0_rx_bytes: 9",
            {0: 7, 1: 8},
        ),
        (
            (
                "     [0]: rx_ucast_packets: 7\n     [0]: rx_mcast_packets: 1\n     [0]: rx_bcast_packets: 2\n"
                "     [0]: rx_discard_packets: 50\n     [1]: rx_ucast_packets: 4\n     [0]: tx_ucast_packets: 9"
            ),
            {0: 10, 1: 4},
        ),
        ("     rx_posted_desc[0]: 99\n     rx_completed_desc[0]: 7\n     tx_completed_desc[0]: 3", {0: 7}),
        ("     rvec_0_rx_pkts: 7\n     rvec_0_tx_pkts: 3\n     rvec_1_rx_pkts: 2", {0: 7, 1: 2}),
        ("     rxq0: rx_bytes: 700\n     rxq0: rx_pkts: 7\n     txq0: tx_pkts: 3", {0: 7}),
        ("     0: rcv_pkts: 7\n     0: xmit_pkts: 3", {0: 7}),
        ("     rxq0: bytes: 70\n     rxq0: frames: 7\n     txq0: frames: 3", {0: 7}),
        ("     Queue[0] InPackets: 7\n     Queue[0] OutPackets: 3", {0: 7}),
        ("     rx_0_packets: 7\n     rx_0_bytes: 70\n     tx_0_packets: 3", {0: 7}),
        ("     q0_rx_pkt_n: 7\n     q0_tx_pkt_n: 3", {0: 7}),
        ("     rxq0_packets: 7\n     txq0_packets: 3", {0: 7}),
        ("     rx_gso_checksum_fixup: 0", {}),
        ("", {}),
    ],
    ids=[
        "ixgbe",
        "i40e",
        "i40e before",
        "mlx5",
        "veth",
        "virtio 6.1",
        "virtio 6.8",
        "vmxnet3",
        "e1000e",
        *_MORE,
        "none",
    ],
)
def test_packets_by_queue(text: str, found: dict[int, int]) -> None:
    assert queues.packets(text) == found


INTERRUPTS = """           CPU0       CPU2       CPU71
  0:         33          0          0   IO-APIC    2-edge      timer
 41:        900          0          2  IR-PCI-MSIX-0000:03:00.0    1-edge      eth0-rx-0
 42:          0          7          0  IR-PCI-MSIX-0000:03:00.0    2-edge      eth0-tx-0
NMI:          4          4          4   Non-maskable interrupts
ERR:          0
"""


def test_by_cpu() -> None:
    """CPUs that are offline have no column."""
    found = queues.per_cpu(INTERRUPTS)
    assert found["41"] == {"0": 900, "71": 2}
    assert found["NMI"] == {"0": 4, "2": 4, "71": 4}
    assert "ERR" not in found
    assert queues.per_cpu("") == {}


def test_one_port() -> None:
    base = "/sys/class/net/eth0"
    system = Recorded(
        {},
        {
            "/proc/interrupts": INTERRUPTS,
            "/proc/softirqs": "          CPU0       CPU2       CPU71\n  NET_RX:   5   0   6\n",
            f"{base}/device/msi_irqs/41": "msix",
            f"{base}/device/msi_irqs/42": "msix",
            f"{base}/statistics/rx_packets": "77",
        },
    )
    wanted = config(ports=[internal(queues=[{"index": 0, "rx_core": 0, "tx_core": 0}])])
    assert queues.read(system, wanted, {"int1": "eth0"}) == {
        "ports": {
            "int1": {
                "device": "eth0",
                "irqs": [
                    {"number": 41, "way": "rx", "queue": 0, "cpus": {"0": 900, "71": 2}},
                    {"number": 42, "way": "tx", "queue": 0, "cpus": {"2": 7}},
                ],
                "packets": {"0": 77},
            }
        },
        "softirqs": {"0": 5, "71": 6},
    }


def test_a_driver_without_statistics_counts_by_no_queue() -> None:
    """As ethtool 6.1 says of tg3 in a container, of a bridge's device and of others: it is no failure."""
    system = Recorded({"ethtool -S eth0": Done(94, "", "no stats available\n")}, {"/proc/interrupts": INTERRUPTS})
    assert queues.read(system, config(ports=[internal()]), {"int1": "eth0"})["ports"]["int1"]["packets"] == {}
