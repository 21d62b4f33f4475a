"""What a simulation found, as frozen values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

__all__ = ["Latencies", "LinkLoad", "Reorder", "ServerLoad", "SimulationResult"]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from the last bit in to the last bit out."""

    mean: float
    median: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class LinkLoad:
    """Bits per second on the wire over one link: simulated, and as a fluid (steady state, no packets)."""

    name: str
    rate_bps: int
    load_bps: float
    fluid_bps: float


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server received, per second on the wire; ``factor`` c in cR: over what entered there from outside."""

    name: str
    processed_bps: float
    factor: float | None


@dataclass(frozen=True, slots=True)
class Reorder:
    """The paper's metric (6.2): reordered sequences, late packets, and sequences over packets."""

    sequences: int
    late: int
    fraction: float


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """One run. Rates count the wire: frame, FCS, preamble and gap (24 bytes beside the frame without FCS).

    ``throughput_bps`` left the router, ``frame_bps`` the same in frames with FCS (as the paper counts);
    ``fairness`` is Jain's index of each pair's delivered rate over its max-min fair share; ``processing_factor``
    all servers' processing over all that entered (2 all direct, 3 all indirect); ``direct_share`` in
    bytes of what crossed the fabric.
    """

    routing: str
    flowlet_timeout_s: float
    packets: int
    flows: int
    duration_s: float
    offered_bps: float
    throughput_bps: float
    frame_bps: float
    delivered: float
    throughput_pps: float
    fairness: float
    direct_share: float
    processing_factor: float
    latency_s: Latencies
    reordered: Reorder
    links: tuple[LinkLoad, ...]
    servers: tuple[ServerLoad, ...]
    required_link_bps: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)
