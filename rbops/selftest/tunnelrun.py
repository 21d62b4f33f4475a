"""What became of packets in one direction of a tunnel, by the port at its clear end, as a value with a JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["TunnelRun", "Way"]

Way = Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class TunnelRun:
    """Packets between the tester of external ``port`` on ``server`` and the peer of ``tunnel`` (its ``spi``).

    ``way`` is ``out``: ``server`` encrypted what its tester sent, and the peer's tester opened it; or ``in``: the
    peer's tester encrypted, and the packet left by ``port``. ``received`` counts different packets that arrived where
    they were meant to, ``wrong`` of them otherwise than byte by byte as expected. ``clear``: seen by a tester without
    having been encrypted.
    """

    tunnel: int
    peer: str
    way: Way
    server: str
    port: int
    sent: int
    received: int
    duplicates: int = 0
    misdelivered: int = 0
    wrong: int = 0
    clear: int = 0

    @property
    def lost(self) -> int:
        """Packets that arrived nowhere."""
        return max(0, self.sent - self.received - self.misdelivered)

    @property
    def head(self) -> str:
        """How faults of the row begin."""
        return f"tunnel {self.tunnel} to {self.peer}:"

    @property
    def side(self) -> str:
        """The clear end, in a sentence on packets."""
        return f"from port {self.port} ({self.server})" if self.way == "out" else f"to port {self.port}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "tunnel": self.tunnel,
            "peer": self.peer,
            "way": self.way,
            "server": self.server,
            "port": self.port,
            "sent": self.sent,
            "received": self.received,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "misdelivered": self.misdelivered,
            "wrong": self.wrong,
            "clear": self.clear,
        }
