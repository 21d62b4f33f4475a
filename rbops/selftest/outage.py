"""What a stream of packets loses while something on its way breaks, or is mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Outage"]


@dataclass(frozen=True, slots=True)
class Outage:
    """What a stream of ``pps`` packets a second lost while something was broken (or mended: ``back``) on its way.

    ``share`` of the stream went that way. ``ports`` are those of ``server`` that were touched.
    """

    event: str
    back: bool
    server: str
    ports: tuple[str, ...]
    pps: float
    sent: int
    lost: int
    share: float = 1.0

    @property
    def seconds(self) -> float:
        """How long that part of the stream was lost."""
        return self.lost / (self.pps * self.share)

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        return {
            "event": self.event,
            "back": self.back,
            "server": self.server,
            "ports": list(self.ports),
            "pps": round(self.pps),
            "sent": self.sent,
            "lost": self.lost,
            "share": round(self.share, 3),
            "seconds": round(self.seconds, 6),
        }
