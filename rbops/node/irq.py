"""Interrupts: found by device and queue, each on the CPU that polls the queue."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.node.cpus import list_text, parse_list
from rbops.node.schema import NodePort
from rbops.node.settings import Setting, Write
from rbops.node.system import System

__all__ = ["Interrupt", "parse_names", "places", "queue_of", "read", "settings"]

# ixgbe eth0-TxRx-3, i40e i40e-eth0-TxRx-3, ice ice-eth0-TxRx-3, igb eth0-rx-3, vmxnet3 eth0-rxtx-3,
# mlx5 mlx5_comp3@pci:0000:03:00.0, ena eth0-Tx-Rx-3,
# virtio virtio0-input.3: always the device's own vectors, see read().
_QUEUE = re.compile(
    r"(?:(?P<both>TxRx|Tx-Rx|rxtx)-|(?P<comp>mlx5_comp)|[-.](?P<way>rx|tx|input|output)[-.])(?P<index>\d+)"
)
_LINE = re.compile(r"^\s*(\d+):")


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A vector of a device: the queue it serves and the CPUs it may go to and does go to."""

    number: int
    name: str
    affinity: frozenset[int]
    effective: frozenset[int]


def parse_names(text: str) -> dict[int, str]:
    """Number -> action name from the text of ``/proc/interrupts``."""
    names = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            names[int(match[1])] = line.split()[-1]
    return names


def queue_of(name: str) -> tuple[str, int] | None:
    """(``both``, ``rx`` or ``tx``, queue index) from a vector's name; None for one that serves no queue."""
    match = _QUEUE.search(name)
    if not match:
        return None
    way = {"rx": "rx", "input": "rx", "tx": "tx", "output": "tx"}.get(match["way"] or "", "both")
    return way, int(match["index"])


def read(system: System, device: str) -> tuple[Interrupt, ...]:
    """The vectors of one device, found anew each time: a reset gives them other numbers.

    virtio's belong to the PCI device above the network device's own; a device without MSI has one line.
    """
    base = f"/sys/class/net/{device}/device"
    numbers = system.names(f"{base}/msi_irqs") or system.names(f"{base}/../msi_irqs")
    line = system.read(f"{base}/irq") or "0"
    if not numbers and line.isdigit() and line != "0":
        numbers = [line]
    if not numbers:
        return ()
    names = parse_names(system.read("/proc/interrupts") or "")
    found = []
    for number in sorted(int(text) for text in numbers):
        place = f"/proc/irq/{number}"
        if number in names:
            affinity = parse_list(system.read(f"{place}/smp_affinity_list") or "")
            effective = parse_list(system.read(f"{place}/effective_affinity_list") or "")
            found.append(Interrupt(number, names[number], affinity, effective))
    return tuple(found)


def places(facts: tuple[Interrupt, ...]) -> list[tuple[Interrupt, str, int]]:
    """(vector, ``both``, ``rx`` or ``tx``, queue) of those that serve queues; a device's only vector serves all."""
    found = [(vector, *place) for vector in facts if (place := queue_of(vector.name))]
    return [(facts[0], "both", 0)] if not found and len(facts) == 1 else found


def settings(port: NodePort, facts: tuple[Interrupt, ...]) -> list[Setting]:
    """Every planned queue's vectors on its core; a device without vectors (veth) has nothing to set."""
    cores = {queue.index: queue for queue in port.queues}
    found = []
    for interrupt, way, index in places(facts):
        if index not in cores:
            continue
        core = cores[index].tx_core if way == "tx" else cores[index].rx_core
        path = f"/proc/irq/{interrupt.number}/smp_affinity_list"
        have, want = interrupt.affinity, frozenset({core})
        name = f"irq {way} {index}" if way != "both" else f"irq {index}"
        action, undo = (Write(path, list_text(want)),), (Write(path, list_text(have)),)
        if have == want and interrupt.effective - want:
            # The kernel moves it at its next interrupt, which on an idle port may take long: said, not waited for.
            now = f"{list_text(want)}, in effect {list_text(interrupt.effective)}"
            reason = "takes effect with the next interrupt"
            found.append(Setting(port.subject, name, now, list_text(want), unsupported=reason))
            continue
        found.append(Setting(port.subject, name, list_text(have), list_text(want), action, undo))
    return found
