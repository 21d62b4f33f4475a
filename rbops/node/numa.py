"""Whether a device and the cores of its queues are near each other."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.node.cpus import list_text
from rbops.node.devices import Device
from rbops.node.hugepages import nodes_of
from rbops.node.schema import NodeConfig
from rbops.node.settings import Note
from rbops.node.system import System

__all__ = ["notes"]

_UNKNOWN = -1


def notes(config: NodeConfig, found: Mapping[str, Device], system: System) -> list[Note]:
    """What is to be said of each port's NUMA node; nothing on a server that has one node."""
    nodes = [name for name in system.names("/sys/devices/system/node") if name[:4] == "node" and name[4:].isdigit()]
    if len(nodes) < 2:  # noqa: PLR2004 - near and far need two
        return []
    said = []
    for port in config.kernel_ports:
        device = found[port.name]
        if device.pci is None:
            continue
        node = int(system.read(f"/sys/bus/pci/devices/{device.pci}/numa_node") or _UNKNOWN)
        far = sorted({queue.rx_core for queue in port.queues if nodes_of(system, frozenset({queue.rx_core})) != {node}})
        if node == _UNKNOWN:
            said.append(Note(port.subject, "NUMA node", f"the kernel does not know the node of {device.name} (-1)"))
        elif far:
            text = f"{device.name} is on node {node}, its cores {list_text(far)} are not"
            said.append(Note(port.subject, "NUMA node", text))
    return said
