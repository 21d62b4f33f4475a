"""What one check is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbops.node.schema import NodePort, Queue
    from rbops.verify.host import ServerUnderTest
    from rbops.verify.rows import Row

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and within it a row of rbops-node, a port, queue, file, peer, boot parameter or module."""

    server: ServerUnderTest
    label: str
    some_port: NodePort | None = None
    some_queue: Queue | None = None
    key: str = ""
    want: str = ""
    peer: ServerUnderTest | None = None
    row: Row | None = None

    @property
    def port(self) -> NodePort:
        """The port of a case that has one."""
        if self.some_port is None:
            raise LookupError(f"{self.label} is about no port")
        return self.some_port

    @property
    def queue(self) -> Queue:
        """The queue of a case that has one."""
        if self.some_queue is None:
            raise LookupError(f"{self.label} is about no queue")
        return self.some_queue
