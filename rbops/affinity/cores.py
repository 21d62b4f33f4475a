"""Which CPUs touch packets and how many queues every port gets (paper 4.2).

With m data-plane cores every port has m receive and m transmit queues, and core i owns queue i of
each port: both rules hold. Of SMT siblings only the first carries packets; the second stays idle,
since whatever ran on it would slow the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.hardware.model import Card, Core, Machine
from rbops.nic.drivers import Driver, driver
from rbops.plan import Cores, Queue, Violation

__all__ = ["PIPELINE_LOSS", "SHARED_QUEUE_LOSS", "Assignment", "assign"]

SHARED_QUEUE_LOSS = 1 - 0.7 / 1.7
"""Fig. 6 (e) against (b): several cores on one queue forward 0.7 instead of 1.7 Gbps."""

PIPELINE_LOSS = 1 - 0.6 / 1.7
"""Fig. 6 (a) across L3 caches against (b): handing a packet from core to core costs 64 %."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One kind of server's CPUs, queues per port, what cannot be kept and what was given up.

    ``by_port``: ports have one queue each, and the cores share the ports out.
    """

    cores: Cores
    queues: tuple[Queue, ...]
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    by_port: bool = False

    def queues_of(self, port: int) -> tuple[Queue, ...]:
        """The queues of a server's port, counted in cabling order."""
        if not self.by_port:
            return self.queues
        core = self.cores.dataplane[port % len(self.cores.dataplane)]
        return (Queue(0, core, core),)


def assign(
    machine: Machine,
    cards: tuple[Card, ...],
    nodes: frozenset[int],
    *,
    dataplane: str,
    numa: str,
    allow: tuple[str, ...],
    server: str,
    sockets: bool = False,
) -> Assignment:
    """The cores and queues of a server whose used ports are on ``cards``, on NUMA ``nodes``.

    ``allow`` names the rules that may be broken where keeping them costs cores. ``sockets``: packets come
    through AF_PACKET, which gives a program one queue a device. Raises ValueError when the machine has no CPU
    for packets.
    """
    drivers = tuple(driver(name) for name in sorted({card.driver for card in cards}))
    by_ring = dataplane == "xdp" and any(known.xdp_ring_by_cpu for known in drivers)
    wraps = dataplane == "xdp" and not by_ring and any(known.xdp_ring_wraps for known in drivers)
    limit = min((card.queues for card in cards), default=len(machine.cores))
    housekeeping, able = _split(machine, low_ids=by_ring)
    if not able:
        raise ValueError(f"{machine.name} has no CPU left for packets")
    notes: list[str] = []
    violations = list(_ring_violations(machine, drivers, dataplane, server))
    if by_ring:
        low = [core for core in able if core.id < limit]
        if not low:
            detail = f"every CPU id is at or above the {limit} transmit rings: XDP redirect fails without lower ids"
            violations.append(Violation("rule1", server, detail, 1.0))
        elif len(low) < len(able):
            notes.append(
                f"XDP redirect picks one of {limit} transmit rings by CPU id: CPUs {limit} and up carry no packets"
            )
        able = low or able
    chosen = _preferred(able, nodes if numa == "prefer" else frozenset())
    if sockets:
        return _sockets(chosen, housekeeping, allow, server)
    if len(chosen) > limit:
        if "rule1" in allow:
            violations.append(_shared(len(chosen), limit, server))
        else:
            notes.append(
                f"{len(chosen)} cores but {limit} queues a port: {limit} cores carry packets, so no queue is shared"
            )
            chosen = chosen[:limit]
    dataplane_ids = tuple(sorted(core.id for core in chosen))
    count = min(limit, dataplane_ids[-1] + 1) if by_ring else min(limit, len(dataplane_ids))
    if wraps and len({cpu % count for cpu in dataplane_ids}) < len(dataplane_ids):
        violations.append(_wrapped(dataplane_ids, count, server))
        wraps = False
    return Assignment(
        Cores(dataplane_ids, tuple(sorted(core.id for core in housekeeping))),
        _queues(dataplane_ids, count, by_ring=by_ring, wraps=wraps),
        tuple(violations),
        tuple(notes),
    )


def _sockets(chosen: list[Core], housekeeping: list[Core], allow: tuple[str, ...], server: str) -> Assignment:
    """One queue a port: one core, or several that each serve some of the ports and hand packets to each other."""
    ids = tuple(sorted(core.id for core in chosen))
    kept = tuple(sorted(core.id for core in housekeeping))
    if len(ids) == 1:
        return Assignment(Cores(ids, kept), _queues(ids, 1, by_ring=False, wraps=False), (), ())
    if not allow:
        note = (
            f"the socket dialect has one queue a port, so that one of {len(ids)} cores carries packets: "
            "`router.allow: [rule2]` shares the ports out to all cores, which then hand packets to each other"
        )
        return Assignment(Cores(ids[:1], kept), _queues(ids[:1], 1, by_ring=False, wraps=False), (), (note,))
    detail = (
        f"{len(ids)} cores serve ports of one queue each: packets change their core on the way to "
        "another core's port, through a locked queue"
    )
    breach = Violation("rule2", server, detail, round(PIPELINE_LOSS, 3))
    return Assignment(Cores(ids, kept), _queues(ids, 1, by_ring=False, wraps=False), (breach,), (), by_port=True)


def _split(machine: Machine, *, low_ids: bool) -> tuple[list[Core], list[Core]]:
    """Housekeeping CPUs, and one thread of each other core.

    Where the transmit ring goes by CPU id the housekeeping cores have the highest ids, otherwise
    the lowest, where Linux puts most of what is not pinned.
    """
    ordered = sorted(machine.cores, key=lambda core: core.id)
    firsts: dict[tuple[int, int], Core] = {}
    for core in ordered:
        firsts.setdefault((core.socket, core.core), core)
    if machine.housekeeping:
        kept = [core for core in ordered if core.id in machine.housekeeping]
    else:
        candidates = list(firsts.values())
        places = candidates[len(candidates) - machine.reserve :] if low_ids else candidates[: machine.reserve]
        where = {(core.socket, core.core) for core in places}
        kept = [core for core in ordered if (core.socket, core.core) in where]
    busy = {(core.socket, core.core) for core in kept}
    return kept, [core for place, core in firsts.items() if place not in busy]


def _preferred(able: list[Core], nodes: frozenset[int]) -> list[Core]:
    return sorted(able, key=lambda core: (bool(nodes) and core.numa_node not in nodes, core.id))


def _queues(cores: tuple[int, ...], count: int, *, by_ring: bool, wraps: bool) -> tuple[Queue, ...]:
    """Receive queue i belongs to core i of the data plane; so does transmit queue i, unless rings go by CPU id."""
    owners = tuple(cores[index % len(cores)] for index in range(count))
    if wraps:
        of_ring = {cpu % count: cpu for cpu in cores}
        return tuple(Queue(index, owner, of_ring[index]) for index, owner in enumerate(owners))
    rings = tuple(index if by_ring and index in cores else owner for index, owner in enumerate(owners))
    return tuple(Queue(index, rx, tx) for index, (rx, tx) in enumerate(zip(owners, rings, strict=True)))


def _wrapped(cores: tuple[int, ...], rings: int, server: str) -> Violation:
    listed = ", ".join(map(str, cores))
    detail = (
        f"XDP redirect takes transmit ring CPU id modulo {rings}, so of CPUs {listed} some share a ring and its lock"
    )
    return Violation("rule1", server, detail, round(SHARED_QUEUE_LOSS, 3))


def _shared(cores: int, queues: int, server: str) -> Violation:
    return Violation(
        "rule1",
        server,
        f"{cores} cores share {queues} queues of each port, so queues are locked",
        round(SHARED_QUEUE_LOSS, 3),
    )


def _ring_violations(machine: Machine, drivers: tuple[Driver, ...], dataplane: str, server: str) -> list[Violation]:
    if dataplane != "xdp":
        return []
    found: list[Violation] = []
    for known in drivers:
        cpus = machine.possible_cpus
        if known.xdp_none_above is not None and cpus > known.xdp_none_above:
            detail = f"{known.name} refuses XDP with more than {known.xdp_none_above} CPUs, and there are {cpus}"
            found.append(Violation("rule1", server, detail, 1.0))
        elif known.xdp_locked_above is not None and cpus > known.xdp_locked_above:
            detail = f"{known.name} locks XDP rings with more than {known.xdp_locked_above} CPUs, and there are {cpus}"
            found.append(Violation("rule1", server, detail, round(SHARED_QUEUE_LOSS, 3)))
    return found
