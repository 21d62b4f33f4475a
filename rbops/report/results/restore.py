"""A result that was read back, as the values that the verb itself reports from."""

from __future__ import annotations

import base64
from typing import cast

from rbops.report.results.document import (
    ContextDoc,
    DistributionDoc,
    ExampleDoc,
    LatencyDoc,
    MatrixRunDoc,
    OutageDoc,
    RateDoc,
    RateRunDoc,
    ResultDoc,
    SoakDoc,
    TcpDoc,
)
from rbops.report.results.phases import BalanceDoc, CoreLoadDoc, LatenessDoc, PairDoc, PhaseDoc, PortServiceDoc
from rbops.selftest.balance import Balance, CoreLoad, PairShare, ServerLoad
from rbops.selftest.beside import PaperFigure
from rbops.selftest.context import Context, PortContext, ServerContext
from rbops.selftest.example import Example
from rbops.selftest.latency import Distribution, LatencyPoint
from rbops.selftest.matrices import MatrixRun, PathShare
from rbops.selftest.outage import Outage
from rbops.selftest.rateresult import Bounds, RateResult, RateRun, Trial
from rbops.selftest.reordering import RECENT, Lateness
from rbops.selftest.result import (
    Fault,
    Kind,
    Pair,
    PathCount,
    Phase,
    PortService,
    QueueService,
    SelftestResult,
    Source,
)
from rbops.selftest.sizes import SizeCount
from rbops.selftest.soak import Slice, SoakResult
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.tunnelrun import TunnelRun

__all__ = ["restored"]


def restored(document: ResultDoc) -> SelftestResult:
    """The result; of a queue that was not served as planned it is known that it was not, and no more."""
    return SelftestResult(
        name=document.name,
        digest=document.digest,
        seed=document.seed,
        ports=tuple((port.id, port.server) for port in document.ports),
        phases=tuple(_phase(phase) for phase in document.phases),
        rate=_rate(document.rate) if document.rate else None,
        rate6=_rate(document.rate_ipv6) if document.rate_ipv6 else None,
        faults=tuple(Fault(**{**fault.model_dump(), "kind": cast("Kind", fault.kind)}) for fault in document.faults),
        seconds=document.seconds,
        notes=tuple(document.notes),
        predicted_pps=document.predicted_pps,
        rate_runs=tuple(_rate_run(one) for one in document.rates),
        latencies=tuple(_latency(one) for one in document.latency),
        outages=tuple(_outage(one) for one in document.failures),
        soaks=tuple(_soak(one) for one in document.soak),
        matrices=tuple(_matrix(one) for one in document.matrices),
        paper=tuple(PaperFigure(**one.model_dump()) for one in document.paper),
        tunnel_runs=tuple(TunnelRun(**one.model_dump(exclude={"lost"})) for one in document.tunnels),
        tcp_runs=tuple(_tcp(one) for one in document.tcp),
        examples=tuple(_example(one) for one in document.examples),
        context=_context(document.context) if document.context else None,
    )


def _example(one: ExampleDoc) -> Example:
    return Example(one.phase, one.kind, one.port, one.time_ns, base64.b64decode(one.frame))


def _soak(one: SoakDoc) -> SoakResult:
    slices = tuple(Slice(*each) for each in one.slices)
    return SoakResult(
        one.size, one.part, float(one.offered_pps), one.seconds, slices, one.complete, one.family, one.mix
    )


def _matrix(one: MatrixRunDoc) -> MatrixRun:
    values = one.model_dump(exclude={"points", "farthest", "agrees", "paths"})
    return MatrixRun(**values, paths=tuple(PathShare(**path.model_dump()) for path in one.paths))


def _tcp(one: TcpDoc) -> TcpRun:
    return TcpRun(**one.model_dump(exclude={"share"}))


def _outage(one: OutageDoc) -> Outage:
    values = one.model_dump(exclude={"seconds", "ports"})
    return Outage(**values, ports=tuple(one.ports))


def _phase(one: PhaseDoc) -> Phase:
    return Phase(
        name=one.name,
        size=one.size,
        seconds=one.seconds,
        sources=tuple(Source(source.port, source.sent, source.unsent, source.seconds) for source in one.sources),
        pairs=tuple(_pair(pair) for pair in one.pairs),
        spread=tuple(PathCount(path.source, path.destination, path.via, path.packets) for path in one.spread),
        service=tuple(_service(port) for port in one.queues),
        family=one.family,
        stray=one.stray,
        balance=_balance(one.balance) if one.balance else None,
        mix=one.mix,
        sizes=tuple(SizeCount(**each.model_dump()) for each in one.sizes),
        lateness=_lateness(one.reordering.lateness),
    )


def _lateness(one: LatenessDoc | None) -> Lateness:
    if one is None:
        return Lateness()
    counts = (dict(one.extents), dict(one.degrees))
    return Lateness(*(tuple(found.get(number, 0) for number in range(RECENT)) for found in counts))


def _balance(one: BalanceDoc) -> Balance:
    pairs = (
        PairShare(
            pair.source, pair.destination, pair.packets, pair.direct, tuple(pair.over.items()), pair.predicted_direct
        )
        for pair in one.pairs
    )
    return Balance(
        tuple(pairs),
        tuple(ServerLoad(load.server, load.entered, load.handled, load.predicted_handled) for load in one.servers),
        tuple(_core(load) for load in one.cores),
    )


def _core(one: CoreLoadDoc) -> CoreLoad:
    return CoreLoad(one.server, one.core, one.packets, one.busy, one.softirq, one.predicted_busy)


def _pair(one: PairDoc) -> Pair:
    values = one.model_dump(exclude={"lost", "misdelivered", "reordered_sequences"})
    misdelivered = tuple((each.port, each.packets) for each in one.misdelivered)
    return Pair(**values, misdelivered=misdelivered, sequences=one.reordered_sequences)


def _service(one: PortServiceDoc) -> PortService:
    queues = tuple(
        QueueService(
            one.server,
            one.port,
            queue.queue,
            queue.core,
            queue.packets,
            tuple((int(cpu), count) for cpu, count in queue.interrupts.items()),
            None if queue.as_planned else "not as planned",
        )
        for queue in one.queues
    )
    return PortService(one.server, one.port, queues, tuple((int(cpu), count) for cpu, count in one.cores.items()))


def _rate(one: RateDoc) -> RateResult:
    trials = tuple(Trial(**trial.model_dump(exclude={"passed"})) for trial in one.trials)
    return RateResult(one.size, float(one.rate_pps), one.limit, trials, one.mix)


def _rate_run(one: RateRunDoc) -> RateRun:
    ndr, pdr = (
        Bounds(
            bounds.loss_ratio,
            float(bounds.lower_pps),
            None if bounds.upper_pps is None else float(bounds.upper_pps),
            limited=bounds.limited_by_testers,
        )
        for bounds in (one.ndr, one.pdr)
    )
    trials = tuple(Trial(**trial.model_dump(exclude={"passed"})) for trial in one.trials)
    return RateRun(
        one.size, one.run, one.method, one.width, one.trial_seconds, float(one.ceiling_pps), ndr, pdr, one.complete,
        trials, one.seconds, one.family, one.mix,
    )  # fmt: skip


def _latency(one: LatencyDoc) -> LatencyPoint:
    rates = (float(one.offered_pps), float(one.sent_pps))
    found, floor = _distribution(one), _distribution(one.floor)
    return LatencyPoint(one.size, one.part, *rates, one.sent, one.lost, found, floor, one.family, one.mix, one.way)


def _distribution(one: DistributionDoc) -> Distribution:
    percentiles = (one.p50_s, one.p90_s, one.p99_s, one.p99_9_s)
    return Distribution(
        one.samples, one.min_s, percentiles, one.max_s, one.mean_s, one.ipdv_mean_s, tuple(one.histogram_ns)
    )


def _context(one: ContextDoc) -> Context:
    servers = tuple(
        ServerContext(
            server.server,
            server.kernel,
            server.processor,
            server.virtualisation,
            tuple(PortContext(**port.model_dump()) for port in server.ports),
        )
        for server in one.servers
    )
    return Context(one.version, one.started, one.command, one.lab, servers)
