"""A self-test's result as a JSON document (``schema_version`` 1): what is read back, and the schema that ships.

Keys that a newer rbops adds are kept out of the models and do no harm. Rates are packets a second (``_pps``) and bits a
second of whole frames with FCS (``_bps``); ports are external port ids; cores and queues are the kernel's numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from rbops.errors import UsageError, Where
from rbops.report.results.phases import Model, PhaseDoc, PortDoc

__all__ = [
    "ContextDoc",
    "DistributionDoc",
    "LatencyDoc",
    "MatrixRunDoc",
    "PhaseDoc",
    "RateDoc",
    "RateRunDoc",
    "ResultDoc",
    "TcpDoc",
    "TunnelDoc",
    "read",
    "schema",
]


class TrialDoc(Model):
    """A step of the rate search; ``offered_pps`` null: as fast as the testers can."""

    offered_pps: int | None
    sent_pps: int
    sent: int
    lost: int
    unsent: int
    passed: bool


class RateDoc(Model):
    """The highest rate without loss; 0: none was found. ``size``: of a ``mix`` the mean."""

    size: int
    mix: str | None = None
    rate_pps: int
    rate_bps: int
    limit: Literal["testers", "precision", "loss", "time"]
    trials: list[TrialDoc]


class BoundsDoc(Model):
    """The highest load that held a loss ratio, and the lowest that did not (null: all held)."""

    loss_ratio: float
    lower_pps: int
    upper_pps: int | None
    lower_bps: int
    upper_bps: int | None
    width: float | None
    limited_by_testers: bool


class RateRunDoc(Model):
    """One search for NDR and PDR; the first trial is the testers' own rate."""

    family: int = 4
    size: int
    mix: str | None = None
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


class RateSummaryDoc(Model):
    """A rate over several runs; ``spread``: highest less lowest over the mean."""

    family: int = 4
    size: int
    mix: str | None = None
    rate: Literal["ndr", "pdr"]
    runs: int
    mean_pps: int
    mean_bps: int
    spread: float


class DistributionDoc(Model):
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
    """Latency at a load: ``part`` of the rate that was found, null: unloaded; ``floor``: the testers alone.

    ``way``: between testers of one machine by its clock, or there and back between those of two.
    """

    family: int = 4
    size: int
    mix: str | None = None
    part: float | None
    way: Literal["one way", "round trip"] = "one way"
    offered_pps: int
    sent_pps: int
    sent: int
    lost: int
    floor: DistributionDoc


class PathShareDoc(Model):
    """The part of the packets from one server to another that went over ``via`` (null: directly), 0 to 1."""

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    via: str | None
    measured: float
    simulated: float


class MatrixRunDoc(Model):
    """A traffic matrix at ``load`` (null: as its file says); shares agree within ``points``, null: not compared."""

    matrix: str
    family: int = 4
    load: float | None
    packets: int
    direct: float
    simulated_direct: float
    points: float
    farthest: float | None
    agrees: bool | None
    reason: str | None
    paths: list[PathShareDoc]


class SoakDoc(Model):
    """One load for a long time; ``slices``: packets sent, lost, and seconds; bounds with ``confidence``."""

    family: int = 4
    size: int
    mix: str | None = None
    part: float
    offered_pps: int
    sent_pps: int
    seconds: float
    sending_seconds: float
    complete: bool
    sent: int
    lost: int
    loss_ratio: float
    confidence: float
    loss_ratio_upper: float
    slices_with_loss: int
    slices_with_loss_upper: float
    worst_slice_loss_ratio: float
    slices: list[tuple[int, int, float]]


class TcpDoc(Model):
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


class TunnelDoc(Model):
    """Packets between a port and a tunnel's peer; ``way`` out: encrypted by the router, in: by the peer."""

    tunnel: int
    peer: str
    way: Literal["out", "in"]
    server: str
    port: int
    sent: int
    received: int
    lost: int
    duplicates: int
    misdelivered: int
    wrong: int
    clear: int


class PaperFigureDoc(Model):
    """A figure of the paper's RB4, from ``low`` to ``high``, and what was measured; ``unit``: bps, s, or part."""

    name: str
    unit: Literal["bps", "s", "part"]
    low: float
    high: float
    measured: float


class OutageDoc(Model):
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


class FaultDoc(Model):
    """What was wrong; ``server`` is the likely culprit."""

    kind: str
    text: str
    phase: str
    packets: int
    source: int | None
    destination: int | None
    server: str | None


class ExampleDoc(Model):
    """A wrong packet, as it came out of a port; ``frame`` is base64, without FCS, ``time_ns`` since 1970."""

    phase: str
    kind: str
    port: int
    time_ns: int
    frame: str


class PortContextDoc(Model):
    """A planned port's device."""

    port: str
    device: str
    driver: str
    firmware: str | None


class ServerContextDoc(Model):
    """A server; ``virtualisation`` is ``none`` on iron."""

    server: str
    kernel: str
    processor: str | None
    virtualisation: str | None
    ports: list[PortContextDoc]


class ContextDoc(Model):
    """Where and how it was measured; ``lab``: cables or devices are not hardware."""

    version: str
    started: str
    command: str
    lab: bool
    servers: list[ServerContextDoc]


class ResultDoc(Model):
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
    rates: list[RateRunDoc] = Field(default_factory=list)
    rate_summary: list[RateSummaryDoc] = Field(default_factory=list)
    latency: list[LatencyDoc] = Field(default_factory=list)
    matrices: list[MatrixRunDoc] = Field(default_factory=list)
    soak: list[SoakDoc] = Field(default_factory=list)
    tunnels: list[TunnelDoc] = Field(default_factory=list)
    tcp: list[TcpDoc] = Field(default_factory=list)
    paper: list[PaperFigureDoc] = Field(default_factory=list)
    failures: list[OutageDoc] = Field(default_factory=list)
    faults: list[FaultDoc]
    examples: list[ExampleDoc] = Field(default_factory=list)
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
