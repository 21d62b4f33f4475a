"""The phases in a self-test's result as a JSON document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BalanceDoc",
    "CoreLoadDoc",
    "LatenessDoc",
    "MatrixDoc",
    "MisdeliveredDoc",
    "Model",
    "PairDoc",
    "PairShareDoc",
    "PathDoc",
    "PhaseDoc",
    "PortDoc",
    "PortServiceDoc",
    "QueueDoc",
    "ReorderingDoc",
    "ServerLoadDoc",
    "SizeDoc",
    "SourceDoc",
]


class Model(BaseModel):
    """What is read back; keys that a newer rbops adds are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class PortDoc(Model):
    """An external port and the server that owns it."""

    id: int
    server: str


class LatenessDoc(Model):
    """Late packets by extent and by degree of n-reordering (RFC 4737), ``window`` or more the last."""

    window: int
    mean_extent: float
    extents: list[tuple[int, int]]
    degrees: list[tuple[int, int]]


class ReorderingDoc(Model):
    """The paper's metric: ``fraction`` of sequences out of order; ``late`` packets."""

    packets: int
    late: int
    sequences: int
    fraction: float
    late_ratio: float
    lateness: LatenessDoc | None = None


class MatrixDoc(Model):
    """Row: source, column: destination, both in the order of ``ports``; null where nothing was to be sent."""

    ports: list[int]
    sent: list[list[int | None]]
    received: list[list[int | None]]
    lost: list[list[int | None]]


class PathDoc(Model):
    """Packets from one server to another; ``via`` null is the direct path."""

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    via: str | None
    packets: int


class QueueDoc(Model):
    """A receive queue; ``packets`` null: the driver does not count by queue."""

    queue: int
    core: int
    packets: int | None
    interrupts: dict[str, int]
    as_planned: bool


class PortServiceDoc(Model):
    """A port's queues, and the packets that each core took from it."""

    server: str
    port: str
    cores: dict[str, int]
    queues: list[QueueDoc]


class SourceDoc(Model):
    """What one tester sent."""

    port: int
    sent: int
    unsent: int
    seconds: float
    rate_pps: int
    rate_bps: int


class MisdeliveredDoc(Model):
    """Packets that came out at another port."""

    port: int
    packets: int


class PairDoc(Model):
    """All packets from one port to another."""

    source: int
    destination: int
    sent: int
    received: int
    lost: int
    duplicates: int
    misdelivered: list[MisdeliveredDoc]
    mangled: int
    corrupt: int
    header: int
    ttl: int
    checksum: int
    next_hop_mac: int
    source_mac: int
    late: int
    reordered_sequences: int


class PairShareDoc(Model):
    """Packets from one server to another; the parts, 0 to 1, that went directly and over each other server."""

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    packets: int
    direct: float
    over: dict[str, float]
    predicted_direct: float | None


class ServerLoadDoc(Model):
    """Packets that entered at a server's external ports, and all that it handled; ``ratio``: to what was predicted."""

    server: str
    entered: int
    handled: int
    predicted_handled: int | None
    ratio: float | None


class CoreLoadDoc(Model):
    """Packets that a core received.

    ``busy`` and ``softirq``: parts of the time, 0 to 1, by the kernel's account, ``ratio`` of the latter to
    ``predicted_busy``; null where not read, or not predicted.
    """

    server: str
    core: int
    packets: int
    busy: float | None = None
    softirq: float | None = None
    predicted_busy: float | None = None
    ratio: float | None = None


class BalanceDoc(Model):
    """How even the load was: Jain's index of servers and cores; ``farthest_from_predicted`` of the direct parts."""

    pairs: list[PairShareDoc]
    servers: list[ServerLoadDoc]
    cores: list[CoreLoadDoc]
    jain_servers: float | None
    jain_cores: float | None
    busiest_core_over_mean: float | None
    farthest_from_predicted: float | None


class SizeDoc(Model):
    """Packets of a mix by size in bytes with FCS."""

    size: int
    sent: int
    received: int


class PhaseDoc(Model):
    """One phase; ``size`` in bytes with FCS, of a ``mix`` the mean; ``family`` 4 or 6."""

    name: str
    family: int = 4
    size: int
    mix: str | None = None
    sizes: list[SizeDoc] = Field(default_factory=list)
    seconds: float
    sent: int
    unsent: int
    received: int
    lost: int
    duplicates: int
    rate_pps: int
    rate_bps: int
    reordering: ReorderingDoc
    matrix: MatrixDoc
    sources: list[SourceDoc]
    pairs: list[PairDoc]
    spread: list[PathDoc]
    queues: list[PortServiceDoc]
    stray: int
    balance: BalanceDoc | None = None
