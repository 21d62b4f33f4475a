"""One phase of a self-test: what was sent, what became of it, how it spread, and its JSON form.

Ports are the router's external port ids. Rates: ``_pps`` packets a second; ``_bps`` bits a second of
whole frames with FCS, without preamble and gap. ``sent`` counts the frames that the generators wrote,
``unsent`` those of them that the tester's own device did not take: they never reached the router.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rbops.selftest.balance import Balance
from rbops.selftest.reordering import Lateness, Reordering
from rbops.selftest.sizes import SizeCount

__all__ = ["Pair", "PathCount", "Phase", "PortService", "QueueService", "Source", "phase_json"]


@dataclass(frozen=True, slots=True)
class Pair:
    """All packets from external port ``source`` to ``destination`` in one phase.

    ``received`` counts different packets that arrived at the right port, whole or not; ``mangled``
    ones arrived but do not identify themselves any more; ``lost`` is the rest. ``corrupt``,
    ``header``, ``ttl``, ``checksum``, ``next_hop_mac`` and ``source_mac`` are received but wrong.
    """

    source: int
    destination: int
    sent: int
    received: int
    duplicates: int = 0
    misdelivered: tuple[tuple[int, int], ...] = ()
    mangled: int = 0
    corrupt: int = 0
    header: int = 0
    ttl: int = 0
    checksum: int = 0
    next_hop_mac: int = 0
    source_mac: int = 0
    late: int = 0
    sequences: int = 0

    @property
    def lost(self) -> int:
        """Packets that arrived nowhere."""
        return max(0, self.sent - self.received - self.mangled - sum(count for _, count in self.misdelivered))

    @property
    def reordering(self) -> Reordering:
        """The paper's metric over this pair's flows."""
        return Reordering(self.received, self.late, self.sequences)


@dataclass(frozen=True, slots=True)
class Source:
    """What one tester sent in a phase; ``seconds`` is how long it took."""

    port: int
    sent: int
    unsent: int
    seconds: float

    @property
    def rate_pps(self) -> float:
        """Packets a second that were handed to the router."""
        return (self.sent - self.unsent) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class PathCount:
    """Packets that input server ``source`` sent towards server ``destination`` through ``via``.

    ``via`` None is the direct path; ``destination`` equal to ``source`` are packets that stay on it.
    """

    source: str
    destination: str
    via: str | None
    packets: int


@dataclass(frozen=True, slots=True)
class QueueService:
    """Which CPUs served receive queue ``queue`` of a port in one phase; ``core`` is the planned one.

    ``packets`` came in by it (None: the driver does not count by queue), ``interrupts`` are (CPU, number) of its
    vector (empty: it has none, as on veth). ``wrong`` is what is not as planned.
    """

    server: str
    port: str
    queue: int
    core: int
    packets: int | None
    interrupts: tuple[tuple[int, int], ...] = ()
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class PortService:
    """The queues of a port, and (CPU, packets) that the data plane counted on it; empty where it does not count so."""

    server: str
    port: str
    queues: tuple[QueueService, ...]
    cores: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: what was sent, what became of it, and how it spread; ``size`` is bytes with FCS."""

    name: str
    size: int
    seconds: float
    sources: tuple[Source, ...]
    pairs: tuple[Pair, ...]
    spread: tuple[PathCount, ...] = ()
    service: tuple[PortService, ...] = ()
    family: int = 4
    stray: int = 0
    """Frames that were not the test's and went to the testers' kernels."""
    balance: Balance | None = None
    """How even the load was; None where no counters were read."""
    mix: str | None = None
    """The name of a mix of sizes; ``size`` is its mean."""
    sizes: tuple[SizeCount, ...] = ()
    """Packets by size, of a mix."""
    lateness: Lateness = field(default_factory=Lateness)

    @property
    def all_ports(self) -> bool:
        """Whether several ports sent, so that its pairs make a matrix."""
        return len(self.sources) > 1

    @property
    def sent(self) -> int:
        """Frames written by all generators."""
        return sum(source.sent for source in self.sources)

    @property
    def unsent(self) -> int:
        """Frames that the testers' own devices did not take."""
        return sum(source.unsent for source in self.sources)

    @property
    def received(self) -> int:
        """Different packets that arrived where they were meant to."""
        return sum(pair.received for pair in self.pairs)

    @property
    def lost(self) -> int:
        """Packets lost in the router."""
        return max(0, sum(pair.lost for pair in self.pairs) - self.unsent)

    @property
    def duplicates(self) -> int:
        """Packets that arrived more than once, counted each further time."""
        return sum(pair.duplicates for pair in self.pairs)

    @property
    def reordering(self) -> Reordering:
        """The paper's metric over all flows."""
        return sum((pair.reordering for pair in self.pairs), Reordering())

    @property
    def rate_pps(self) -> float:
        """Packets a second delivered, all ports together."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    @property
    def rate_bps(self) -> float:
        """Bits a second delivered, all ports together."""
        if self.sizes and self.seconds > 0:
            return sum(each.size * each.received for each in self.sizes) * 8 / self.seconds
        return self.rate_pps * self.size * 8


def phase_json(phase: Phase, ports: list[int]) -> dict[str, Any]:
    """As in the result's JSON; ``ports`` are all that were tested."""
    return {
        "name": phase.name,
        "family": phase.family,
        "size": phase.size,
        "mix": phase.mix,
        "sizes": [{"size": each.size, "sent": each.sent, "received": each.received} for each in phase.sizes],
        "seconds": round(phase.seconds, 6),
        "sent": phase.sent,
        "unsent": phase.unsent,
        "received": phase.received,
        "lost": phase.lost,
        "duplicates": phase.duplicates,
        "rate_pps": round(phase.rate_pps),
        "rate_bps": round(phase.rate_bps),
        "reordering": {**_reordering(phase.reordering), "lateness": phase.lateness.to_dict()},
        "matrix": {
            "ports": ports,
            "sent": _matrix(phase.pairs, ports, "sent"),
            "received": _matrix(phase.pairs, ports, "received"),
            "lost": _matrix(phase.pairs, ports, "lost"),
        },
        "sources": [
            {
                "port": source.port,
                "sent": source.sent,
                "unsent": source.unsent,
                "seconds": round(source.seconds, 6),
                "rate_pps": round(source.rate_pps),
                "rate_bps": round(source.rate_pps * phase.size * 8),
            }
            for source in phase.sources
        ],
        "pairs": [_pair(pair) for pair in phase.pairs],
        "spread": [
            {"from": path.source, "to": path.destination, "via": path.via, "packets": path.packets}
            for path in phase.spread
        ],
        "queues": [_service(port) for port in phase.service],
        "stray": phase.stray,
        "balance": phase.balance.to_dict() if phase.balance else None,
    }


def _service(port: PortService) -> dict[str, Any]:
    return {
        "server": port.server,
        "port": port.port,
        "cores": {str(cpu): packets for cpu, packets in port.cores},
        "queues": [
            {
                "queue": queue.queue,
                "core": queue.core,
                "packets": queue.packets,
                "interrupts": {str(cpu): count for cpu, count in queue.interrupts},
                "as_planned": queue.wrong is None,
            }
            for queue in port.queues
        ],
    }


def _reordering(value: Reordering) -> dict[str, Any]:
    return {
        "packets": value.packets,
        "late": value.late,
        "sequences": value.sequences,
        "fraction": value.fraction,
        "late_ratio": value.late_ratio,
    }


def _matrix(pairs: Iterable[Pair], ports: list[int], field: str) -> list[list[int | None]]:
    """Row: source, column: destination; null where nothing was to be sent."""
    cells = {(pair.source, pair.destination): getattr(pair, field) for pair in pairs}
    return [[cells.get((row, column)) for column in ports] for row in ports]


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "source": pair.source,
        "destination": pair.destination,
        "sent": pair.sent,
        "received": pair.received,
        "lost": pair.lost,
        "duplicates": pair.duplicates,
        "misdelivered": [{"port": port, "packets": count} for port, count in pair.misdelivered],
        "mangled": pair.mangled,
        "corrupt": pair.corrupt,
        "header": pair.header,
        "ttl": pair.ttl,
        "checksum": pair.checksum,
        "next_hop_mac": pair.next_hop_mac,
        "source_mac": pair.source_mac,
        "late": pair.late,
        "reordered_sequences": pair.sequences,
    }
