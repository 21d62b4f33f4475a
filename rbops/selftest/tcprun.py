"""What TCP connections through the router achieved, as a value with a JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["TcpRun"]


@dataclass(frozen=True, slots=True)
class TcpRun:
    """Connections at once from external port ``source`` to ``destination``, for ``seconds``.

    ``offered_bps``: what all of them together were allowed to send; ``rate_bps``: what arrived, both without headers.
    ``retransmitted`` segments, ``spurious`` of them for one that had arrived. ``segments`` reached the receiver's
    kernel, ``out_of_order`` of them left a gap before them, by another order or by a loss; a receiver that merges
    segments (GRO) counts merged ones. ``failure``: why nothing was measured.
    """

    connections: int
    source: int
    destination: int
    offered_bps: float
    seconds: float = 0.0
    rate_bps: float = 0.0
    retransmitted: int = 0
    spurious: int = 0
    segments: int = 0
    out_of_order: int = 0
    failure: str | None = None

    @property
    def share(self) -> float:
        """Of segments that arrived out of order, 0 to 1."""
        return self.out_of_order / self.segments if self.segments else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "connections": self.connections,
            "source": self.source,
            "destination": self.destination,
            "offered_bps": round(self.offered_bps),
            "seconds": round(self.seconds, 3),
            "rate_bps": round(self.rate_bps),
            "retransmitted": self.retransmitted,
            "spurious": self.spurious,
            "segments": self.segments,
            "out_of_order": self.out_of_order,
            "share": self.share,
            "failure": self.failure,
        }
