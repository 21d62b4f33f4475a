"""A self-test's result as a JSON document (``schema_version`` 1): what is read back, and the schema that ships.

Keys that a newer rbops adds are kept out of the models and do no harm. Rates are packets a second (``_pps``) and bits a
second of whole frames with FCS (``_bps``); ports are external port ids; cores and queues are the kernel's numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rbops.errors import UsageError, Where

__all__ = [
    "BalanceDoc",
    "ContextDoc",
    "DistributionDoc",
    "LatencyDoc",
    "MatrixDoc",
    "PathDoc",
    "PhaseDoc",
    "PortServiceDoc",
    "RateDoc",
    "RateRunDoc",
    "ReorderingDoc",
    "ResultDoc",
    "TcpDoc",
    "read",
    "schema",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class PortDoc(_Model):
    """An external port and the server that owns it."""

    id: int
    server: str


class ReorderingDoc(_Model):
    """The paper's metric: ``fraction`` of sequences out of order; ``late`` packets."""

    packets: int
    late: int
    sequences: int
    fraction: float
    late_ratio: float


class MatrixDoc(_Model):
    """Row: source, column: destination, both in the order of ``ports``; null where nothing was to be sent."""

    ports: list[int]
    sent: list[list[int | None]]
    received: list[list[int | None]]
    lost: list[list[int | None]]


class PathDoc(_Model):
    """Packets from one server to another; ``via`` null is the direct path."""

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    via: str | None
    packets: int


class QueueDoc(_Model):
    """A receive queue; ``packets`` null: the driver does not count by queue."""

    queue: int
    core: int
    packets: int | None
    interrupts: dict[str, int]
    as_planned: bool


class PortServiceDoc(_Model):
    """A port's queues, and the packets that each core took from it."""

    server: str
    port: str
    cores: dict[str, int]
    queues: list[QueueDoc]


class SourceDoc(_Model):
    """What one tester sent."""

    port: int
    sent: int
    unsent: int
    seconds: float
    rate_pps: int
    rate_bps: int


class MisdeliveredDoc(_Model):
    """Packets that came out at another port."""

    port: int
    packets: int


class PairDoc(_Model):
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


class PairShareDoc(_Model):
    """Packets from one server to another; the parts, 0 to 1, that went directly and over each other server."""

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    packets: int
    direct: float
    over: dict[str, float]
    predicted_direct: float | None


class ServerLoadDoc(_Model):
    """Packets that entered at a server's external ports, and all that it handled; ``ratio``: to what was predicted."""

    server: str
    entered: int
    handled: int
    predicted_handled: int | None
    ratio: float | None


class CoreLoadDoc(_Model):
    """Packets that a core received."""

    server: str
    core: int
    packets: int


class BalanceDoc(_Model):
    """How even the load was: Jain's index of servers and cores; ``farthest_from_predicted`` of the direct parts."""

    pairs: list[PairShareDoc]
    servers: list[ServerLoadDoc]
    cores: list[CoreLoadDoc]
    jain_servers: float | None
    jain_cores: float | None
    busiest_core_over_mean: float | None
    farthest_from_predicted: float | None


class PhaseDoc(_Model):
    """One phase; ``size`` in bytes with FCS; ``family`` 4 or 6."""

    name: str
    family: int = 4
    size: int
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


class TrialDoc(_Model):
    """A step of the rate search; ``offered_pps`` null: as fast as the testers can."""

    offered_pps: int | None
    sent_pps: int
    sent: int
    lost: int
    unsent: int
    passed: bool


class RateDoc(_Model):
    """The highest rate without loss; 0: none was found."""

    size: int
    rate_pps: int
    rate_bps: int
    limit: Literal["testers", "precision", "loss", "time"]
    trials: list[TrialDoc]


class BoundsDoc(_Model):
    """The highest load that held a loss ratio, and the lowest that did not (null: all held)."""

    loss_ratio: float
    lower_pps: int
    upper_pps: int | None
    lower_bps: int
    upper_bps: int | None
    width: float | None
    limited_by_testers: bool


class RateRunDoc(_Model):
    """One search for NDR and PDR; the first trial is the testers' own rate."""

    family: int = 4
    size: int
    run: int
    method: str
    width: float
    trial_seconds: float
    ceiling_pps: int
    ndr: BoundsDoc
    pdr: BoundsDoc
    complete: bool
    seconds: float
    trials: list[TrialDoc]


class RateSummaryDoc(_Model):
    """A rate over several runs; ``spread``: highest less lowest over the mean."""

    family: int = 4
    size: int
    rate: Literal["ndr", "pdr"]
    runs: int
    mean_pps: int
    mean_bps: int
    spread: float


class DistributionDoc(_Model):
    """Latencies of ``samples`` packets in seconds; ``histogram_ns``: upper bound of a class and packets in it."""

    samples: int
    min_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    p99_9_s: float = Field(alias="p99.9_s")
    max_s: float
    mean_s: float
    ipdv_mean_s: float
    histogram_ns: list[tuple[int, int]]


class LatencyDoc(DistributionDoc):
    """Latency at a load: ``part`` of the rate that was found, null: unloaded; ``floor``: the testers alone."""

    family: int = 4
    size: int
    part: float | None
    offered_pps: int
    sent_pps: int
    sent: int
    lost: int
    floor: DistributionDoc


class TcpDoc(_Model):
    """TCP connections at once; ``segments`` reached the receiver, ``share`` of them out of order."""

    connections: int
    source: int
    destination: int
    offered_bps: int
    seconds: float
    rate_bps: int
    retransmitted: int
    spurious: int
    segments: int
    out_of_order: int
    share: float
    failure: str | None


class OutageDoc(_Model):
    """What a stream lost while something was broken or mended (``back``); ``seconds`` are of its ``share`` there."""

    event: str
    back: bool
    server: str
    ports: list[str]
    pps: int
    sent: int
    lost: int
    share: float
    seconds: float


class FaultDoc(_Model):
    """What was wrong; ``server`` is the likely culprit."""

    kind: str
    text: str
    phase: str
    packets: int
    source: int | None
    destination: int | None
    server: str | None


class PortContextDoc(_Model):
    """A planned port's device."""

    port: str
    device: str
    driver: str
    firmware: str | None


class ServerContextDoc(_Model):
    """A server; ``virtualisation`` is ``none`` on iron."""

    server: str
    kernel: str
    processor: str | None
    virtualisation: str | None
    ports: list[PortContextDoc]


class ContextDoc(_Model):
    """Where and how it was measured; ``lab``: cables or devices are not hardware."""

    version: str
    started: str
    command: str
    lab: bool
    servers: list[ServerContextDoc]


class ResultDoc(_Model):
    """What ``rbops selftest --format json`` writes."""

    schema_version: Literal[1]
    name: str
    digest: str
    seed: int
    passed: bool
    checked: int
    seconds: float
    ports: list[PortDoc]
    phases: list[PhaseDoc]
    rate: RateDoc | None
    rate_ipv6: RateDoc | None = None
    predicted_pps: int
    rates: list[RateRunDoc] = []
    rate_summary: list[RateSummaryDoc] = []
    latency: list[LatencyDoc] = []
    tcp: list[TcpDoc] = []
    failures: list[OutageDoc] = []
    faults: list[FaultDoc]
    notes: list[str]
    context: ContextDoc | None = None


def schema() -> dict[str, Any]:
    """The document's JSON Schema (draft 2020-12)."""
    found = ResultDoc.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Result of rbops selftest"}


def read(path: Path) -> ResultDoc:
    """A saved result. Raises UsageError (2) with file, line or field for what is none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise _wrong(f"cannot be read: {error.strerror}", "report.unreadable", path) from error
    except ValueError as error:
        raise _wrong(f"is no JSON: {error}", "report.no-json", path) from error
    try:
        return ResultDoc.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        message = f"is not a self-test result: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise _wrong(message, "report.no-result", path, field) from error


def _wrong(message: str, code: str, path: Path, field: str | None = None) -> UsageError:
    hint = "write one with `rbops selftest SPEC -i INVENTORY --format json > result.json`"
    return UsageError(message, code=code, where=Where(file=str(path), field=field), hint=hint)
