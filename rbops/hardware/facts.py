"""What a server says of itself -> the ``hardware:`` that plans are made from, and what is worth saying about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rbops.errors import Mismatch, Where
from rbops.hardware.modern import logical_cores
from rbops.hardware.pcie import PCIE_SHARE, slot_bps
from rbops.nic.drivers import driver
from rbops.node.cpus import list_text
from rbops.node.facts import CpuFacts, Facts, NicFacts, PcieLink
from rbops.spec.hardware import Cpu, Device, Hardware, Nic, Slot

__all__ = ["Described", "data_nics", "describe", "narrow"]

ASSUMED_BPS = 10_000_000_000
"""The rate of a port whose driver knows none, as virtio's."""

_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6, 128.0: 7}
_SLOT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}")
# Of ixgbe's cards these spread received packets over more than 16 queues.
_X550 = re.compile(r"8086:(1563|15d1|15a[a-f]|15b0|15c[2-9a-f]|15e[45])")
_MOST_QUEUES = 1024


@dataclass(slots=True)
class _Notes:
    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.lines:
            self.lines.append(text)


@dataclass(frozen=True, slots=True)
class Described:
    """A server's hardware, and notes on it for the operator, a line each."""

    hardware: Hardware
    notes: tuple[str, ...]


def describe(name: str, facts: Facts) -> Described:
    """The hardware of server ``name``.

    Sockets and cores are numbered from 0; offline CPUs, whose place the kernel does not show, are only
    listed as such. Raises Mismatch (3) for a server without a NIC, a clock or a CPU that could be planned with.
    """
    notes = _Notes()
    if facts.clock_hz is None or not facts.cpus:
        raise Mismatch(
            "the kernel reports no clock rate of the CPUs",
            code="hardware.no-clock",
            where=Where(server=name),
            hint="write the server's hardware description by hand",
        )
    cpus = _cpus(facts.cpus)
    cards = _cards(facts, notes)
    if not cards:
        raise Mismatch(
            "no network device can carry the router's packets", code="hardware.no-nic", where=Where(server=name)
        )
    slots = _slots(facts, cards)
    shape = _shape(cpus)
    nodes = max([node.id for node in facts.nodes] + [cpu.numa_node for cpu in cpus]) + 1
    usual = tuple((core.id, core.socket, core.core, core.numa_node) for core in logical_cores(*shape, nodes))
    listed = () if usual == tuple((c.id, c.socket, c.core, c.numa_node) for c in cpus) else cpus
    _say_cpus(facts, notes)
    return Described(
        Hardware(
            name=name,
            sockets=shape[0],
            cores_per_socket=shape[1],
            threads_per_core=shape[2],
            clock_hz=facts.clock_hz,
            numa_nodes=nodes if nodes != shape[0] else None,
            l3_bytes_per_socket=_l3(facts),
            cpus=cpus if facts.offline else listed,
            housekeeping=_slower(facts, notes),
            offline=facts.offline,
            slots=tuple({slot.name: slot for slot in slots if slot}.values()),
            nics=tuple(_nic(facts, card, slot, notes) for card, slot in zip(cards, slots, strict=True)),
        ),
        tuple(notes.lines),
    )


def data_nics(facts: Facts) -> tuple[NicFacts, ...]:
    """The devices that can be planned ports: no management NIC, no part of a bond or bridge, no SR-IOV function."""
    return tuple(nic for nic in facts.nics if not (nic.management or nic.part_of or nic.virtual_function))


def _cpus(known: Sequence[CpuFacts]) -> tuple[Cpu, ...]:
    """Sockets in the kernel's order from 0; cores within a socket in the order of their first CPU."""
    sockets = {socket: index for index, socket in enumerate(sorted({cpu.socket for cpu in known}))}
    cores: dict[int, dict[tuple[int, ...], int]] = {}
    found = []
    for cpu in sorted(known, key=lambda cpu: cpu.id):
        own = cores.setdefault(cpu.socket, {})
        core = own.setdefault(cpu.siblings, len(own))
        found.append(Cpu(cpu.id, sockets[cpu.socket], core, cpu.numa_node or 0))
    return tuple(found)


def _shape(cpus: Sequence[Cpu]) -> tuple[int, int, int]:
    """(sockets, cores of the largest socket, threads of the largest core)."""
    threads = Counter((cpu.socket, cpu.core) for cpu in cpus)
    cores = Counter(socket for socket, _ in threads)
    return len(cores), max(cores.values()), max(threads.values())


def _l3(facts: Facts) -> int | None:
    """The last-level caches of the first socket together: an AMD socket has several."""
    first = min(cpu.socket for cpu in facts.cpus)
    there = {cpu.id for cpu in facts.cpus if cpu.socket == first}
    sizes = [cache.size_bytes for cache in facts.caches if cache.level == 3 and there & set(cache.cpus)]  # noqa: PLR2004
    return sum(sizes) or None


def _slower(facts: Facts, notes: _Notes) -> tuple[int, ...] | None:
    """Efficiency cores carry no packets: a plan takes cores for alike, and the slowest would set the rate."""
    slower = tuple(sorted(cpu.id for cpu in facts.cpus if cpu.slower))
    if not slower:
        return None
    listed = list_text(frozenset(slower))
    notes.add(
        f"cores of two kinds: CPUs {listed} are the slower ones; they are kept for housekeeping, since a plan takes "
        "the cores that carry packets for alike"
    )
    return slower


def _say_cpus(facts: Facts, notes: _Notes) -> None:
    if facts.offline:
        notes.add(f"{len(facts.offline)} of {len(facts.present)} CPUs are offline, SMT is {facts.smt or 'unknown'}")
    if facts.clock_source and ("as it is now" in facts.clock_source or "with boost" in facts.clock_source):
        notes.add(f"no source says what the CPUs' clock is without boost; it is from {facts.clock_source}")


def _cards(facts: Facts, notes: _Notes) -> list[tuple[NicFacts, ...]]:
    """Ports by card: those whose PCI addresses differ in the function only; a device without one is a card."""
    cards: dict[tuple[str, str], list[NicFacts]] = {}
    for nic in facts.nics:
        if nic.virtual_function:
            notes.add(f"{nic.device} is an SR-IOV function: ignored")
        elif nic.part_of and not nic.management:
            notes.add(f"{nic.device} is part of {nic.part_of}: ignored")
        else:
            place = nic.pci.rsplit(".", 1)[0] if nic.pci else nic.device
            cards.setdefault((place, nic.driver), []).append(nic)
    return [tuple(card) for card in cards.values()]


def _slots(facts: Facts, cards: Sequence[Sequence[NicFacts]]) -> list[Slot | None]:
    """Each card's slot as wide and fast as the narrowest link on its path; None where the kernel knows no link."""
    found: list[Slot | None] = []
    taken: set[str] = set()
    for card in cards:
        link = _narrowest(facts, card[0])
        if link is None or link.speed_gts is None or link.lanes is None or card[0].pci is None:
            found.append(None)
            continue
        address = card[0].pci.rsplit(".", 1)[0]
        name = f"slot{card[0].slot}" if card[0].slot and _SLOT_NAME.fullmatch(card[0].slot) else address
        name = address if name in taken else name
        taken.add(name)
        node = next((nic.numa_node for nic in card if nic.numa_node is not None), None)
        found.append(Slot(name, _GENERATIONS[link.speed_gts], link.lanes, node))
    return found


def _narrowest(facts: Facts, nic: NicFacts) -> PcieLink | None:
    """Of the links between card and CPU the one that carries least; in a virtual machine the card's own."""
    if driver(nic.driver).paravirtual:
        return None
    links = nic.links if facts.virtualisation in {None, "none"} else nic.links[:1]
    known = [link for link in links if link.lanes and link.speed_gts in _GENERATIONS]
    return min(known, key=_carries, default=None)


def _carries(link: PcieLink) -> int:
    return slot_bps(_GENERATIONS[link.speed_gts or 0], link.lanes or 0)


def _nic(facts: Facts, card: tuple[NicFacts, ...], slot: Slot | None, notes: _Notes) -> Nic:
    free = [nic for nic in card if not nic.management]
    if not free:
        # Nothing is planned on it: what is not known of it need not be said.
        free, notes = list(card), _Notes()
    rate = _rate(free, notes)
    nodes = len(facts.nodes) or 1
    node = next((nic.numa_node for nic in card if nic.numa_node is not None), None)
    if node is None and nodes > 1:
        notes.add(f"{_names(card)}: NUMA node unknown (the kernel says -1): the plan cannot prefer cores near it")
    if slot is not None:
        for text in narrow(facts, card, rate):
            notes.add(text)
    return Nic(
        driver=card[0].driver,
        ports=len(card),
        port_rate_bps=rate,
        queues=_queues(free, notes),
        slot=slot.name if slot else None,
        numa_node=None if slot else node,
        devices=tuple(Device(nic.device, nic.pci, nic.mac, nic.management is not None) for nic in card),
    )


def _rate(ports: Sequence[NicFacts], notes: _Notes) -> int:
    """What the slowest linked port is linked at; without a link the fastest mode it supports."""
    linked = [nic.speed_bps for nic in ports if nic.carrier and nic.speed_bps]
    able = [rate for nic in ports if (rate := nic.supported_bps or nic.speed_bps)]
    if linked:
        fastest = max(able)
        if min(linked) < fastest:
            rates = f"{min(linked) / 1e9:g} of {fastest / 1e9:g} Gbps"
            notes.add(f"{_names(ports)} linked at {rates}: planned with what the link gives")
        return min(linked)
    if able:
        return min(able)
    notes.add(f"{_names(ports)}: the driver reports no speed; {ASSUMED_BPS / 1e9:g} Gbps assumed")
    return ASSUMED_BPS


def _queues(ports: Sequence[NicFacts], notes: _Notes) -> int:
    """Queue pairs that receive: what the driver allows, and no more than it spreads packets over."""
    queues = min(nic.max_channels.pairs for nic in ports)
    limit = driver(ports[0].driver).rss_queues
    if limit is not None and queues > limit and not _X550.fullmatch(ports[0].pci_id or ""):
        notes.add(f"{_names(ports)}: {limit} of {queues} queues, {ports[0].driver} spreads packets over no more")
        queues = limit
    if driver(ports[0].driver).xdp_halves and queues > 1:
        notes.add(
            f"{_names(ports)}: of {queues} queues dataplane xdp can use {queues // 2}, as {ports[0].driver} has it"
        )
    return min(queues, _MOST_QUEUES)


def narrow(facts: Facts, card: Sequence[NicFacts], rate_bps: int) -> Iterator[str]:
    """Says so, with the shortfall, when a card's ports together carry more than its PCIe link does."""
    link = _narrowest(facts, card[0])
    if link is None or link.speed_gts is None or link.lanes is None:
        return
    wanted = len(card) * rate_bps
    usable = round(PCIE_SHARE * _carries(link))
    if wanted <= usable:
        return
    own = card[0].links[0]
    now = f"PCIe {_GENERATIONS[link.speed_gts]}.0 x{link.lanes}"
    place = f"slot {card[0].slot}" if card[0].slot else f"the slot of {own.address}"
    yield (
        f"{_names(card)}: {place} is too narrow: {now} carries {usable / 1e9:.1f} Gbps, "
        f"{len(card)} x {rate_bps / 1e9:g} Gbps need {wanted / 1e9:g}: {(wanted - usable) / 1e9:.1f} Gbps short"
        f"{_why(own, link)}"
    )


def _why(own: PcieLink, link: PcieLink) -> str:
    """Whether the card could do more than its slot, and where on its path it is narrow."""
    if link.address != own.address:
        return f"; narrow at {link.address}, above the card"
    if own.max_speed_gts is None or own.max_lanes is None:
        return ""
    if (own.max_speed_gts, own.max_lanes) == (own.speed_gts, own.lanes):
        return "; the card itself has no more"
    return f"; the card has PCIe {_GENERATIONS.get(own.max_speed_gts, 0)}.0 x{own.max_lanes}"


def _names(nics: Sequence[NicFacts]) -> str:
    return ", ".join(nic.device for nic in nics)
