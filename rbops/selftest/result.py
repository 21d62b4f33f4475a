"""What a self-test found, as frozen values with a JSON form (``schema_version`` 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rbops.selftest.beside import PaperFigure
from rbops.selftest.context import Context
from rbops.selftest.example import Example
from rbops.selftest.latency import LatencyPoint
from rbops.selftest.matrices import MatrixRun
from rbops.selftest.outage import Outage
from rbops.selftest.phase import Pair, PathCount, Phase, PortService, QueueService, Source, phase_json
from rbops.selftest.rateresult import RateResult, RateRun, Trial, summaries
from rbops.selftest.soak import SoakResult
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.tunnelrun import TunnelRun

__all__ = [
    "Fault",
    "Kind",
    "Pair",
    "PathCount",
    "Phase",
    "PortService",
    "QueueService",
    "RateResult",
    "SelftestResult",
    "Source",
    "Trial",
]

SCHEMA_VERSION = 1

Kind = Literal[
    "affinity",
    "checksum",
    "corrupt",
    "counters",
    "duplicate",
    "header",
    "in the clear",
    "late",
    "loss",
    "misdelivered",
    "network incomplete",
    "next-hop MAC",
    "nothing arrived",
    "nothing tested",
    "reroute",
    "shares",
    "source MAC",
    "TCP",
    "TTL",
    "unsent",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``text`` describes it; ``server`` is the likely culprit where counters show one."""

    kind: Kind
    text: str
    phase: str
    packets: int = 0
    source: int | None = None
    destination: int | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """One run. ``ports`` are external port id and owning server, in order; ``seconds`` the whole run.

    ``predicted_pps`` is the plan's rate, for servers that do not share their cores.
    """

    name: str
    digest: str
    seed: int
    ports: tuple[tuple[int, str], ...]
    phases: tuple[Phase, ...]
    rate: RateResult | None
    faults: tuple[Fault, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    predicted_pps: int = 0
    outages: tuple[Outage, ...] = ()
    context: Context | None = None
    rate_runs: tuple[RateRun, ...] = ()
    latencies: tuple[LatencyPoint, ...] = ()
    tcp_runs: tuple[TcpRun, ...] = ()
    examples: tuple[Example, ...] = ()
    soaks: tuple[SoakResult, ...] = ()
    matrices: tuple[MatrixRun, ...] = ()
    paper: tuple[PaperFigure, ...] = ()
    """The paper's figures of RB4 beside those measured, where the plan is RB4."""
    rate6: RateResult | None = None
    """As ``rate``, of IPv6."""
    tunnel_runs: tuple[TunnelRun, ...] = ()

    @property
    def checked(self) -> int:
        """Packets that were sent and checked at the exit, in all phases."""
        return sum(phase.received for phase in self.phases) + sum(run.received for run in self.tunnel_runs)

    @property
    def passed(self) -> bool:
        """Whether packets were checked and nothing was wrong."""
        return self.checked > 0 and not self.faults

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "digest": self.digest,
            "seed": self.seed,
            "passed": self.passed,
            "checked": self.checked,
            "seconds": round(self.seconds, 3),
            "ports": [{"id": port, "server": server} for port, server in self.ports],
            "phases": [phase_json(phase, [port for port, _ in self.ports]) for phase in self.phases],
            "rate": self.rate.to_dict() if self.rate else None,
            "rate_ipv6": self.rate6.to_dict() if self.rate6 else None,
            "predicted_pps": self.predicted_pps,
            "rates": [run.to_dict() for run in self.rate_runs],
            "rate_summary": [summary.to_dict() for summary in summaries(self.rate_runs)],
            "latency": [point.to_dict() for point in self.latencies],
            "matrices": [run.to_dict() for run in self.matrices],
            "soak": [soak.to_dict() for soak in self.soaks],
            "tunnels": [run.to_dict() for run in self.tunnel_runs],
            "tcp": [run.to_dict() for run in self.tcp_runs],
            "paper": [figure.to_dict() for figure in self.paper],
            "failures": [outage.to_dict() for outage in self.outages],
            "faults": [_fault(fault) for fault in self.faults],
            "examples": [example.to_dict() for example in self.examples],
            "notes": list(self.notes),
            "context": self.context.to_dict() if self.context else None,
        }


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "text": fault.text,
        "phase": fault.phase,
        "packets": fault.packets,
        "source": fault.source,
        "destination": fault.destination,
        "server": fault.server,
    }
