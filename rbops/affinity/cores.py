"""Which CPUs touch packets and how many queues every port gets (paper 4.2).

With m data-plane cores every port has m receive and m transmit queues, and core i owns queue i of
each port: both rules hold. Of SMT siblings only the first carries packets; the second stays idle,
since whatever ran on it would slow the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rbops.hardware.model import Card, Core, Machine
from rbops.nic.drivers import Driver, driver
from rbops.plan import Cores, Queue, Violation

__all__ = ["PIPELINE_LOSS", "SHARED_QUEUE_LOSS", "Assignment", "CorePolicy", "assign"]

SHARED_QUEUE_LOSS = 1 - 0.7 / 1.7
"""Fig. 6 (e) against (b): several cores on one queue forward 0.7 instead of 1.7 Gbps."""

PIPELINE_LOSS = 1 - 0.6 / 1.7
"""Fig. 6 (a) across L3 caches against (b): handing a packet from core to core costs 64 %."""

_ROUNDED_SHARED_QUEUE_LOSS = round(SHARED_QUEUE_LOSS, 3)


@dataclass(frozen=True, slots=True)
class CorePolicy:
    """What the spec and its data plane say of cores and queues.

    ``xdp``: packets leave by XDP redirect, which picks the transmit ring itself. ``one_queue``: packets come through
    AF_PACKET, which gives a program one queue a device. ``near_nic``: cores of the NICs' NUMA nodes first. ``allow``
    names the rules that may be broken where keeping them costs cores.
    """

    xdp: bool = False
    one_queue: bool = False
    near_nic: bool = False
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """One kind of server's CPUs and queues, what cannot be kept and what was given up.

    ``queue_sets``: one for all ports, or one for each core where ports have one queue each and cores share them out.
    """

    cores: Cores
    queue_sets: tuple[tuple[Queue, ...], ...]
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def by_port(self) -> bool:
        """Whether ports differ in the core that serves them."""
        return len(self.queue_sets) > 1

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queues of the first port; of every port unless ``by_port``."""
        return self.queue_sets[0]

    def queues_of(self, port: int) -> tuple[Queue, ...]:
        """The queues of a server's port, counted in cabling order; one value for all ports that have the same."""
        return self.queue_sets[port % len(self.queue_sets)]


_Ring = Literal["core", "cpu", "cpu-modulo"]
"""Which transmit ring a core uses: the one planned for it, that of its CPU id, or of its CPU id modulo the rings."""


@dataclass(slots=True)
class _Findings:
    """What comes to light while cores are chosen for ``server``."""

    server: str
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def breach(self, rule: str, loss: float, detail: str) -> None:
        self.violations.append(Violation(rule, self.server, detail, loss))


def assign(
    machine: Machine,
    cards: tuple[Card, ...],
    policy: CorePolicy,
    *,
    server: str,
    nodes: frozenset[int] = frozenset(),
) -> Assignment:
    """The cores and queues of a server whose used ports are on ``cards``, on NUMA ``nodes``.

    ``server`` is the name that violations carry. Raises ValueError when the machine has no CPU for packets.
    """
    drivers = tuple(driver(name) for name in sorted({card.driver for card in cards}))
    ring = _ring(drivers, policy)
    found = _Findings(server)
    limit = min((_queues_of(card, policy, found) for card in cards), default=len(machine.cores))
    housekeeping, able = _split(machine, low_ids=ring == "cpu")
    if not able:
        raise ValueError(f"{machine.name} has no CPU left for packets")
    if policy.xdp:
        _check_drivers(machine, drivers, found)
    if ring == "cpu":
        able = _with_ring(able, limit, found)
    chosen = _preferred(able, nodes if policy.near_nic else frozenset())
    if policy.one_queue:
        dataplane, queue_sets = _one_queue(chosen, policy, found)
    else:
        dataplane = tuple(sorted(core.id for core in _limited(chosen, limit, policy, found)))
        queue_sets = (_queues(dataplane, limit, ring, found),)
    cores = Cores(dataplane, tuple(sorted(core.id for core in housekeeping)))
    return Assignment(cores, queue_sets, tuple(found.violations), tuple(found.notes))


def _queues_of(card: Card, policy: CorePolicy, found: _Findings) -> int:
    """The queue pairs of a card's port that can be used; some drivers give XDP as many transmit rings of its own."""
    if not (policy.xdp and driver(card.driver).xdp_halves and card.queues > 1):
        return card.queues
    half = card.queues // 2
    found.notes.append(
        f"{card.driver}: with XDP at most half of a port's channels can be used, {half} of {card.queues}"
    )
    return half


def _ring(drivers: tuple[Driver, ...], policy: CorePolicy) -> _Ring:
    if policy.xdp and any(known.xdp_ring_by_cpu for known in drivers):
        return "cpu"
    return "cpu-modulo" if policy.xdp and any(known.xdp_ring_wraps for known in drivers) else "core"


def _check_drivers(machine: Machine, drivers: tuple[Driver, ...], found: _Findings) -> None:
    """Some drivers share XDP's rings, or refuse XDP, on machines of many CPUs, whether those carry packets or not."""
    cpus = machine.possible_cpus
    for known in drivers:
        if known.xdp_none_above is not None and cpus > known.xdp_none_above:
            detail = f"{known.name} refuses XDP with more than {known.xdp_none_above} CPUs, and there are {cpus}"
            found.breach("rule1", 1.0, detail)
        elif known.xdp_locked_above is not None and cpus > known.xdp_locked_above:
            detail = f"{known.name} locks XDP rings with more than {known.xdp_locked_above} CPUs, and there are {cpus}"
            found.breach("rule1", _ROUNDED_SHARED_QUEUE_LOSS, detail)


def _with_ring(able: list[Core], limit: int, found: _Findings) -> list[Core]:
    """The CPUs whose id is one of ``limit`` transmit rings; all of them, as a breach, when there is none."""
    low = [core for core in able if core.id < limit]
    if not low:
        detail = f"every CPU id is at or above the {limit} transmit rings: XDP redirect fails without lower ids"
        found.breach("rule1", 1.0, detail)
        return able
    if len(low) < len(able):
        found.notes.append(
            f"XDP redirect picks one of {limit} transmit rings by CPU id: CPUs {limit} and up carry no packets"
        )
    return low


def _limited(chosen: list[Core], limit: int, policy: CorePolicy, found: _Findings) -> list[Core]:
    """As many cores as ports have queues, unless cores may share queues."""
    if len(chosen) <= limit:
        return chosen
    if "shared-queues" in policy.allow:
        detail = f"{len(chosen)} cores share {limit} queues of each port, so queues are locked"
        found.breach("rule1", _ROUNDED_SHARED_QUEUE_LOSS, detail)
        return chosen
    found.notes.append(
        f"{len(chosen)} cores but {limit} queues a port: {limit} cores carry packets, so no queue is shared"
    )
    return chosen[:limit]


def _one_queue(
    chosen: list[Core], policy: CorePolicy, found: _Findings
) -> tuple[tuple[int, ...], tuple[tuple[Queue, ...], ...]]:
    """One queue a port: one core, or several that each serve some of the ports and hand packets to each other."""
    ids = tuple(sorted(core.id for core in chosen))
    if len(ids) > 1 and not policy.allow:
        found.notes.append(
            f"the socket dialect has one queue a port, so that one of {len(ids)} cores carries packets: "
            "`router.allow: [cross-core]` shares the ports out to all cores, which then hand packets to each other"
        )
        ids = ids[:1]
    if len(ids) > 1:
        detail = (
            f"{len(ids)} cores serve ports of one queue each: packets change their core on the way to "
            "another core's port, through a locked queue"
        )
        found.breach("rule2", round(PIPELINE_LOSS, 3), detail)
    return ids, tuple((Queue(0, core, core),) for core in ids)


def _queues(cores: tuple[int, ...], limit: int, ring: _Ring, found: _Findings) -> tuple[Queue, ...]:
    """Receive queue i is core i's, the cores taking turns; so is transmit queue i, unless CPU ids decide."""
    # With rings by CPU id there must be one for the highest id, so there may be more queues than cores.
    count = min(limit, cores[-1] + 1 if ring == "cpu" else len(cores))
    receivers = [cores[index % len(cores)] for index in range(count)]
    senders = dict(enumerate(receivers))
    if ring == "cpu":
        senders |= {core: core for core in cores if core < count}
    elif ring == "cpu-modulo":
        taken = {core % count: core for core in cores}
        if len(taken) == len(cores):
            senders |= taken
        else:
            found.breach("rule1", _ROUNDED_SHARED_QUEUE_LOSS, _wrapped(cores, count))
    return tuple(Queue(index, core, senders[index]) for index, core in enumerate(receivers))


def _wrapped(cores: tuple[int, ...], rings: int) -> str:
    listed = ", ".join(map(str, cores))
    return f"XDP redirect takes transmit ring CPU id modulo {rings}, so of CPUs {listed} some share a ring and its lock"


def _split(machine: Machine, *, low_ids: bool) -> tuple[list[Core], list[Core]]:
    """Housekeeping CPUs, and one thread of each other core.

    Where the transmit ring goes by CPU id the housekeeping cores have the highest ids, otherwise
    the lowest, where Linux puts most of what is not pinned.
    """
    ordered = sorted(machine.cores, key=lambda core: core.id)
    firsts: dict[tuple[int, int], Core] = {}
    for core in ordered:
        firsts.setdefault((core.socket, core.core), core)
    if machine.housekeeping is not None:
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
