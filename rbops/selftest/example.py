"""A wrong packet that was kept, whole, as it reached a tester."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

__all__ = ["MOST", "Example"]

MOST = 100
"""So many are kept of a self-test."""


@dataclass(frozen=True, slots=True)
class Example:
    """The first of its ``kind`` in a phase at external ``port``; ``time_ns`` since 1970, ``frame`` without FCS."""

    phase: str
    kind: str
    port: int
    time_ns: int
    frame: bytes

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        frame = base64.b64encode(self.frame).decode()
        return {"phase": self.phase, "kind": self.kind, "port": self.port, "time_ns": self.time_ns, "frame": frame}
