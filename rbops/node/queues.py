"""What each queue's interrupts and packets were since its device was made, by CPU: before and after a load
they show which core served it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rbops.errors import CheckFailed
from rbops.node import irq
from rbops.node.ethtool import ask
from rbops.node.schema import NodeConfig
from rbops.node.system import System

__all__ = ["packets", "per_cpu", "read"]

_COUNTED = re.compile(
    # rx_queue_3_packets ixgbe, ice, igb, hv_netvsc, virtio to 6.8; rx-3.packets i40e (rx-3.rx_packets before, and sfc);
    # rx3_packets mlx5; rx_3_packets mana; rxq3_packets hns3, hinic; rxq_3_packets amd-xgbe; rx_q-3_pkts idpf
    r"rx(?:_queue_|_q-|q_|q|-|_|)(\d+)[_.](?:rx_)?(?:packets|pkts)|"
    # ena; nfp; stmmac; be2net; qede; atlantic; octeontx2 and nicvf; enetc; gve
    r"queue_(\d+)_rx_cnt|rvec_(\d+)_rx_pkts|q(\d+)_rx_pkt_n|rxq(\d+): (?:rx_pkts|frames)|(\d+): rcv_pkts|"
    r"Queue\[(\d+)\] InPackets|Rx ring +(\d+) frames|rx_completed_desc\[(\d+)\]"
)
# bnxt_en and bnx2x: [3]: rx_ucast_packets, beside those for groups and all.
_CAST = re.compile(r"\[(\d+)\]: rx_(?:ucast|mcast|bcast)_packets")
# What a program took is counted apart: by mlx5 beside the others, by veth and virtio from 6.8 as all there is.
_MLX5 = re.compile(r"rx(\d+)_xdp_(?:drop|redirect|tx_xmit)")
_PROGRAM = re.compile(r"rx(?:_queue_)?(\d+)_xdp_packets")
_VMXNET3 = re.compile(r"Rx Queue#: (\d+)")
_VMXNET3_KINDS = ("ucast pkts rx", "mcast pkts rx", "bcast pkts rx")


def read(system: System, config: NodeConfig, devices: Mapping[str, str]) -> dict[str, Any]:
    """For each port its vectors (queue, direction, interrupts by CPU) and packets by receive queue; softirqs by CPU.

    Devices with a userspace driver have none.
    """
    counts = per_cpu(system.read("/proc/interrupts") or "")
    ports: dict[str, Any] = {}
    for port in config.kernel_ports:
        device = devices[port.name]
        vectors = [
            {"number": vector.number, "way": way, "queue": queue, "cpus": counts.get(str(vector.number), {})}
            for vector, way, queue in irq.places(irq.read(system, device), port.driver)
        ]
        found = packets(_statistics(system, device))
        if not found and len(port.queues) == 1:
            found = _whole(system, device)
        ports[port.name] = {
            "device": device,
            "irqs": vectors,
            "packets": {str(queue): count for queue, count in sorted(found.items())},
        }
    softirqs = per_cpu(system.read("/proc/softirqs") or "")
    return {"ports": ports, "softirqs": softirqs.get("NET_RX", {})}


def _statistics(system: System, device: str) -> str:
    """``ethtool -S``; empty for a driver that has none, in any of the ways in which ethtool says so."""
    try:
        return ask(system, "-S", device) or ""
    except CheckFailed as error:
        if "no stats available" in str(error).lower():
            return ""
        raise


def per_cpu(text: str) -> dict[str, dict[str, int]]:
    """Row -> CPU -> count, without zeros, from the text of ``/proc/interrupts`` or ``/proc/softirqs``."""
    lines = text.splitlines()
    cpus = [word.removeprefix("CPU") for word in lines[0].split()] if lines else []
    found: dict[str, dict[str, int]] = {}
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        # The architecture's rows have fewer numbers; what follows them is text.
        numbers = [word for word in rest.split()[: len(cpus)] if word.isdigit()]
        if len(numbers) == len(cpus):
            found[name.strip()] = {cpu: int(word) for cpu, word in zip(cpus, numbers, strict=True) if int(word)}
    return found


def packets(text: str) -> dict[int, int]:
    """Receive queue -> packets, from the text of ``ethtool -S``; empty where the driver does not count by queue."""
    found: dict[int, int] = {}
    program: dict[int, int] = {}
    mlx5: dict[int, int] = {}
    queue: int | None = None
    for line in text.splitlines():
        key, _, value = line.strip().rpartition(": ")
        head = _VMXNET3.match(line.strip())
        if head:
            queue = int(head[1])
        elif line.strip().startswith("Tx Queue#"):
            queue = None
        elif value.isdigit():
            _count(key, int(value), found, program, mlx5, queue)
    for number, count in mlx5.items():
        if number in found:
            found[number] += count
    return found or program


def _count(
    key: str, count: int, found: dict[int, int], program: dict[int, int], mlx5: dict[int, int], queue: int | None
) -> None:
    for pattern, into in ((_COUNTED, found), (_CAST, found), (_PROGRAM, program), (_MLX5, mlx5)):
        match = pattern.fullmatch(key)
        if match:
            number = int(next(group for group in match.groups() if group))
            into[number] = into.get(number, 0) + count
            return
    if queue is not None and key in _VMXNET3_KINDS:
        found[queue] = found.get(queue, 0) + count


def _whole(system: System, device: str) -> dict[int, int]:
    """A device with one queue counts for it."""
    text = system.read(f"/sys/class/net/{device}/statistics/rx_packets") or ""
    return {0: int(text)} if text.isdigit() else {}
