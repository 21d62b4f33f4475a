"""What one check is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbops.verify.host import ServerUnderTest
    from rbops.verify.rows import Row

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and within it a row of rbops-node, a port, queue, file, peer, boot parameter or module."""

    server: ServerUnderTest
    label: str
    port: dict[str, Any] = field(default_factory=dict)
    queue: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    want: str = ""
    peer: ServerUnderTest | None = None
    row: Row | None = None
