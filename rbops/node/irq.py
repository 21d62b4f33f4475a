"""Interrupts: found by device and queue, each on the CPU that polls the queue."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.node.cpus import list_text, parse_list
from rbops.node.schema import NodePort
from rbops.node.settings import Setting, Write
from rbops.node.system import System

__all__ = ["Interrupt", "parse_names", "places", "queue_of", "read", "settings"]

_BOTH = r"TxRx|Tx-Rx|rxtx|txrx|fp"
_QUEUE = re.compile(
    # ixgbe eth0-TxRx-3, i40e i40e-eth0-TxRx-3, ena eth0-Tx-Rx-3, vmxnet3 eth0-rxtx-3, enetc eth0-rxtx3,
    # bnx2x eth0-fp-3; igb eth0-rx-3, virtio virtio0-input.3, stmmac eth0:rx-3, cxgb4 eth0-Rx3, hinic eth0_rxq3;
    # be2net eth0-q3, Xen eth0-q3-rx; mlx5 mlx5_comp3@pci:0000:03:00.0, mana mana_q3@pci:...
    rf"[-.:](?:{_BOTH})-?(?P<both>\d+)$|[-.:_](?P<way>rxq?|tx?q?|Rx|Tx|input|output)[-.]?(?P<one>\d+)$|"
    r"-q(?P<queue>\d+)(?:-(?P<half>rx|tx))?$|^(?:mlx5_comp|mana_q)(?P<comp>\d+)@"
)
_OTHER = re.compile(r"fdir|-xdp-|-event-|ctrl|misc|async")
"""Vectors that look like a queue's and are another's: i40e's flow director, sfc's queues for XDP, vmxnet3's events."""
_GVE = re.compile(r"(?:^gve-ntfy-blk(\d+)@|-ntfy-block\.(\d+)$)")
_SFC = re.compile(r"-(\d+)$")
_WAYS = {"r": "rx", "i": "rx", "t": "tx", "o": "tx"}
_WITHOUT = frozenset({"veth", "tun", "dummy"})
"""Devices of software: their packets come in without interrupts."""
_SHOWN = 4
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


def queue_of(name: str, driver: str = "") -> tuple[str, int] | None:
    """(``both``, ``rx`` or ``tx``, queue index) from a vector's name; None for one that serves no queue.

    ``driver`` matters where the same name means something else: sfc's ``eth0-3``, and tg3, whose vector 0 is the
    link's. gve's depend on their number (:func:`places`).
    """
    if _OTHER.search(name):
        return None
    match = _QUEUE.search(name)
    if not match:
        plain = _SFC.search(name) if driver.startswith("sfc") else None
        return ("both", int(plain[1])) if plain else None
    index = int(match["both"] or match["one"] or match["queue"] or match["comp"])
    side = match["way"] or match["half"]
    if driver == "tg3":
        return (_WAYS[side[0].lower()] if side else "both", index - 1) if index else None
    return _WAYS[side[0].lower()] if side else "both", index


def read(system: System, device: str) -> tuple[Interrupt, ...]:
    """The vectors of one device, found anew each time: a reset gives them other numbers.

    virtio's belong to the PCI device above the network device's own; a device without MSI has one line. Those of Xen
    and of devices on a chip are found by their names.
    """
    base = f"/sys/class/net/{device}/device"
    numbers = system.names(f"{base}/msi_irqs") or system.names(f"{base}/../msi_irqs")
    line = system.read(f"{base}/irq") or "0"
    if not numbers and line.isdigit() and line != "0":
        numbers = [line]
    driver = system.driver(device)
    if not numbers and driver in {None, *_WITHOUT}:
        return ()
    names = parse_names(system.read("/proc/interrupts") or "")
    if not numbers:
        own = re.compile(rf"{re.escape(device)}(?:[-:].*)?")
        numbers = [str(number) for number, name in names.items() if own.fullmatch(name)]
    found = []
    for number in sorted(int(text) for text in numbers):
        place = f"/proc/irq/{number}"
        if number in names:
            affinity = parse_list(system.read(f"{place}/smp_affinity_list") or "")
            effective = parse_list(system.read(f"{place}/effective_affinity_list") or "")
            found.append(Interrupt(number, names[number], affinity, effective))
    return tuple(found)


def places(facts: tuple[Interrupt, ...], driver: str = "") -> list[tuple[Interrupt, str, int]]:
    """(vector, ``both``, ``rx`` or ``tx``, queue) of those that serve queues; a device's only vector serves all."""
    if driver == "gve":
        return _gve(facts)
    found = [(vector, *place) for vector in facts if (place := queue_of(vector.name, driver))]
    return [(facts[0], "both", 0)] if not found and len(facts) == 1 else found


def _gve(facts: tuple[Interrupt, ...]) -> list[tuple[Interrupt, str, int]]:
    """The first half of gve's notification blocks transmits, the second receives (gve.h: gve_rx_idx_to_ntfy)."""
    blocks = {int(match[1] or match[2]): fact for fact in facts if (match := _GVE.search(fact.name))}
    half = len(blocks) // 2
    return [(fact, "tx" if at < half else "rx", at % half) for at, fact in sorted(blocks.items()) if at < 2 * half]


def settings(port: NodePort, facts: tuple[Interrupt, ...]) -> list[Setting]:
    """Every planned queue's vectors on its core, and which queues have none that is known.

    A veth has no interrupts, so there is nothing to set.
    """
    cores = {queue.index: queue for queue in port.queues}
    known = places(facts, port.driver)
    found = _unknown(port, facts, {index for _, way, index in known if way != "tx"})
    for interrupt, way, index in known:
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


def _unknown(port: NodePort, facts: tuple[Interrupt, ...], known: set[int]) -> list[Setting]:
    """One line for all planned queues whose receive vector no name tells."""
    missing = frozenset(queue.index for queue in port.queues) - known
    if not missing or port.driver in _WITHOUT:
        return []
    names = ", ".join(fact.name for fact in facts[:_SHOWN]) + (", ..." if len(facts) > _SHOWN else "")
    seen = f"its interrupts are {names}" if facts else "the device shows no interrupts"
    reason = f"driver {port.driver}: no interrupt is known as theirs ({seen}), so they stay where they are"
    cores = sorted({queue.rx_core for queue in port.queues if queue.index in missing})
    want = f"queues {list_text(missing)} on CPUs {list_text(frozenset(cores))}"
    return [Setting(port.subject, "irq", "unknown", want, unsupported=reason)]
