"""A self-test's result: the N x N matrix, what each phase found, the spread, the faults; JUnit cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbops.report.junit import Case, Suite
from rbops.report.selftest_matrices import matrix_blocks, matrix_cases
from rbops.report.selftest_paper import paper_table
from rbops.report.selftest_rates import (
    bounds_cells,
    frames_of,
    latency_table,
    rate_limit,
    rate_line,
    rates_table,
    soak_line,
    summary_line,
)
from rbops.report.selftest_tunnels import tunnel_cases, tunnels_table
from rbops.report.tables import Block, Cell, Styled, Table
from rbops.report.words import counted
from rbops.selftest.balance import Balance
from rbops.selftest.outage import Outage
from rbops.selftest.rateresult import summaries
from rbops.selftest.reordering import RECENT
from rbops.selftest.result import Pair, PathCount, Phase, PortService, QueueService, RateResult, SelftestResult
from rbops.selftest.tcprun import TcpRun

__all__ = ["selftest_blocks", "selftest_junit"]


_SIZES = 12
"""Sizes of a mix that are shown; of a capture there may be hundreds."""


def selftest_junit(result: SelftestResult) -> Suite:
    """A case for every pair of ports in every phase, one for the whole router, and one for the rate."""
    by_pair: dict[tuple[str, int | None, int | None], list[str]] = {}
    for fault in result.faults:
        by_pair.setdefault((fault.phase, fault.source, fault.destination), []).append(fault.text)
    cases = [
        Case(
            group=f"selftest.{phase.name}",
            name=f"port {pair.source} to port {pair.destination}",
            seconds=phase.seconds,
            failures=tuple(by_pair.pop((phase.name, pair.source, pair.destination), ())),
            output=_pair(pair),
        )
        for phase in result.phases
        for pair in phase.pairs
    ]
    cases += matrix_cases(result.matrices, by_pair)
    cases += tunnel_cases(result.tunnel_runs, by_pair)
    rest = tuple(text for texts in by_pair.values() for text in texts)
    cases.append(Case("selftest", "the whole router", result.seconds, rest, output=_verdict(result)))
    for name, rate in (("", result.rate), (" of IPv6", result.rate6)):
        if rate is not None:
            failures = () if rate.rate_pps else ("no rate without loss was found",)
            what = f"highest rate without loss{name}"
            cases.append(Case("selftest.rate", what, 0.0, failures, output=rate_line(rate)))
    for run in result.rate_runs:
        failures = () if run.pdr.lower_pps else ("no rate with little loss was found",)
        name = f"NDR and PDR of {frames_of(run.size, run.mix, run.family)}, run {run.run}"
        text = f"NDR {bounds_cells(run.ndr)[1]}, PDR {bounds_cells(run.pdr)[1]} Mpps, limit: {rate_limit(run)}"
        cases.append(Case("selftest.rates", name, run.seconds, failures, output=text))
    cases += [
        Case("selftest.soak", frames_of(soak.size, soak.mix, soak.family), soak.seconds, output=soak_line(soak))
        for soak in result.soaks
    ]
    for tcp in result.tcp_runs:
        text = (
            f"{tcp.rate_bps / 1e9:.3f} of {tcp.offered_bps / 1e9:.3f} Gbps, {tcp.retransmitted} retransmitted, "
            f"{tcp.spurious} of them in vain, {tcp.out_of_order} of {tcp.segments} segments out of order"
        )
        name = f"{tcp.connections} TCP connections"
        cases.append(Case("selftest.tcp", name, tcp.seconds, skipped=tcp.failure, output="" if tcp.failure else text))
    properties = (("plan", result.digest), ("seed", str(result.seed)), ("checked", str(result.checked)))
    return Suite(f"rbops selftest {result.name}", tuple(cases), result.seconds, properties)


def selftest_blocks(result: SelftestResult) -> Iterator[Block]:
    """The matrix, phases, paths and queues, the rate beside the predicted one, notes, faults and the verdict."""
    names = dict(result.ports)
    yield from (_matrix(phase, names) for phase in result.phases if phase.all_ports)
    if result.phases:
        yield _phases(result.phases)
    yield from (_lateness(phase) for phase in result.phases if phase.lateness.packets)
    yield from (_sizes(phase) for phase in result.phases if phase.sizes)
    yield from _loads(result.phases)
    yield from (_service(phase) for phase in result.phases if phase.service)
    if result.rate is not None:
        yield rate_line(result.rate)
        yield _prediction_line(result.predicted_pps, result.rate)
    if result.rate6 is not None:
        yield rate_line(result.rate6, "highest rate of IPv6 without loss")
    if result.rate_runs:
        yield rates_table(result.rate_runs)
        yield from (summary_line(one) for one in summaries(result.rate_runs) if len(one.rates_pps) > 1)
    if result.latencies:
        yield latency_table(result.latencies)
    yield from matrix_blocks(result.matrices)
    if result.paper:
        yield paper_table(result.paper)
    yield from (soak_line(soak) for soak in result.soaks)
    yield from _apart(result)
    yield from (f"note: {note}" for note in result.notes)
    if result.faults:
        yield Styled("\n".join(f"FAULT {fault.phase}: {fault.text}" for fault in result.faults), "bad")
    yield Styled(_verdict(result), "good" if result.passed else "bad")


def _apart(result: SelftestResult) -> Iterator[Block]:
    """What is neither a phase of the generators nor a rate."""
    if result.tunnel_runs:
        yield tunnels_table(result.tunnel_runs)
    if result.tcp_runs:
        yield _tcp(result.tcp_runs)
    if result.outages:
        yield _outages(result.outages)


def _verdict(result: SelftestResult) -> str:
    what = f"{result.checked:,} packets checked in {result.seconds:.1f} s"
    if result.passed:
        return f"self-test of {result.name} passed: {what}, plan {result.digest[:12]}, seed {result.seed}"
    faults = counted(len(result.faults), "fault") if result.faults else "nothing was tested"
    return f"self-test of {result.name} FAILED: {faults}; {what}, plan {result.digest[:12]}, seed {result.seed}"


def _matrix(phase: Phase, names: dict[int, str]) -> Table:
    cells = {(pair.source, pair.destination): _cell(pair) for pair in phase.pairs}
    columns = ("from \\ to", *(f"port {port} ({names[port]})" for port in names))
    rows = [(f"port {row} ({names[row]})", *(cells.get((row, column), "-") for column in names)) for row in names]
    what = phase.name if phase.name.startswith("matrices ") else "every port to every other"
    title = f"Received, {frames_of(phase.size, phase.mix, phase.family)}, {what}"
    return Table(title, columns, tuple(rows))


def _cell(pair: Pair) -> Cell:
    return Styled(f"{pair.received:,} ({pair.lost:,} lost)", "bad") if pair.lost else f"{pair.received:,}"


def _phases(phases: Iterable[Phase]) -> Table:
    columns = ("phase", "bytes", "sent", "received", "lost", "duplicates", "reordered", "Mpps", "Gbps")
    return Table("Phases", columns, tuple(_phase_row(phase) for phase in phases))


def _phase_row(phase: Phase) -> tuple[str, ...]:
    counts = (phase.sent, phase.received, phase.lost, phase.duplicates)
    reordered = f"{phase.reordering.sequences:,} ({phase.reordering.fraction:.3%})"
    rates = (f"{phase.rate_pps / 1e6:.2f}", f"{phase.rate_bps / 1e9:.2f}")
    return (
        phase.name,
        str(phase.size) if phase.mix is None else f"{phase.size} {phase.mix}",
        *(f"{count:,}" for count in counts),
        reordered,
        *rates,
    )


def _lateness(phase: Phase) -> str:
    late, received = phase.lateness, max(1, phase.received)
    most = f"{late.most} or more" if late.most == RECENT - 1 else str(late.most)
    return (
        f"{phase.name}: {late.packets:,} late packets, extent {late.mean_extent:.1f} on average, {most} at most; "
        f"1-reordered {late.reordered(1) / received:.4%}, 3-reordered {late.reordered(3) / received:.4%} (RFC 4737)"
    )


def _sizes(phase: Phase) -> Table:
    total = sum(each.sent for each in phase.sizes) or 1
    most = sorted(phase.sizes, key=lambda each: -each.sent)[:_SIZES]
    rows = [
        (str(each.size), f"{each.sent:,}", f"{each.sent / total:.2%}", f"{each.received:,}")
        for each in phase.sizes
        if each in most
    ]
    if rest := [each for each in phase.sizes if each not in most]:
        sent, received = sum(each.sent for each in rest), sum(each.received for each in rest)
        rows.append((f"{len(rest)} others", f"{sent:,}", f"{sent / total:.2%}", f"{received:,}"))
    columns = ("bytes", "sent", "of all", "received")
    return Table(f"Packets by size in the {phase.name} phase ({phase.mix})", columns, tuple(rows))


def _loads(phases: Iterable[Phase]) -> Iterator[Block]:
    """Paths, and where all ports sent the load of servers."""
    for phase in phases:
        if phase.spread:
            yield _spread(phase)
        if phase.balance is not None and phase.all_ports:
            yield _servers(phase.name, phase.balance)
            yield _evenness(phase.balance)
            if any(core.busy is not None for core in phase.balance.cores):
                yield _busy(phase.name, phase.balance)


def _spread(phase: Phase) -> Table:
    paths: dict[tuple[str, str], list[PathCount]] = {}
    for path in phase.spread:
        paths.setdefault((path.source, path.destination), []).append(path)
    rows = []
    for (source, destination), taken in paths.items():
        total = sum(path.packets for path in taken)
        direct = sum(path.packets for path in taken if path.via is None)
        over = ", ".join(f"{path.via} {path.packets / total:.1%}" for path in taken if path.via is not None)
        ends = f"{source} to {destination}" if source != destination else f"within {source}"
        rows.append((ends, f"{total:,}", f"{direct / total:.1%}", _predicted(phase, source, destination), over or "-"))
    columns = ("servers", "packets", "direct", "predicted", "over two hops")
    return Table(f"Spread in the {phase.name} phase, by the servers' counters", columns, tuple(rows))


def _predicted(phase: Phase, source: str, destination: str) -> str:
    for pair in phase.balance.pairs if phase.balance else ():
        if (pair.source, pair.destination) == (source, destination) and pair.predicted is not None:
            return f"{pair.predicted:.1%}"
    return "-"


def _servers(name: str, load: Balance) -> Table:
    rows = []
    for each in load.servers:
        factor = f"{each.handled / each.entered:.2f}" if each.entered else "-"
        predicted = (
            ("-", "-") if not each.predicted else (f"{each.predicted:,.0f}", f"{each.handled / each.predicted:.3f}")
        )
        rows.append((each.server, f"{each.entered:,}", f"{each.handled:,}", factor, *predicted))
    columns = ("server", "entered there", "handled", "handled / entered", "predicted", "measured / predicted")
    return Table(f"Load of the servers in the {name} phase, packets", columns, tuple(rows))


def _busy(name: str, load: Balance) -> Table:
    rows = []
    for each in load.cores:
        parts = ("-" if part is None else f"{part:.0%}" for part in (each.busy, each.softirq, each.predicted))
        ratio = "-" if each.ratio is None else f"{each.ratio:.2f}"
        rows.append((f"{each.server} core {each.core}", f"{each.packets:,}", *parts, ratio))
    columns = ("core", "packets", "busy", "with packets", "predicted", "measured / predicted")
    return Table(f"Time of the cores in the {name} phase, by their kernels", columns, tuple(rows))


def _evenness(load: Balance) -> str:
    """One line: fairness of servers and cores, the busiest core, how far shares are from the prediction."""
    parts = []
    if load.fairness is not None:
        parts.append(f"fairness of servers {load.fairness:.3f}")
    if load.core_fairness is not None and load.busiest_core is not None:
        parts.append(f"of cores {load.core_fairness:.3f} (Jain), busiest core {load.busiest_core:.2f} times the mean")
    if load.farthest is not None:
        parts.append(f"direct shares at most {100 * load.farthest:.1f} points from the predicted")
    return "; ".join(parts)


def _service(phase: Phase) -> Table:
    columns = ("port", "packets by queue", "by core", "interrupts by queue", "result")
    rows = [
        (
            f"{port.server}:{port.port}",
            _numbered((queue.queue, queue.packets) for queue in port.queues if queue.packets is not None),
            _numbered(port.cores),
            ", ".join(_vector(queue) for queue in port.queues if queue.interrupts) or "-",
            _served(port),
        )
        for port in phase.service
    ]
    return Table(f"Queues and cores in the {phase.name} phase, by the servers' counters", columns, tuple(rows))


def _served(port: PortService) -> str:
    if any(queue.wrong for queue in port.queues):
        return "NOT as planned"
    if not any(queue.packets for queue in port.queues) and not port.cores:
        return "no packets" if all(queue.packets == 0 for queue in port.queues) else "not counted"
    return "as planned"


def _numbered(counts: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{number}: {count:,}" for number, count in counts) or "-"


def _vector(queue: QueueService) -> str:
    return f"{queue.queue}: " + " + ".join(f"{count:,} on CPU {cpu}" for cpu, count in queue.interrupts)


def _outages(outages: Iterable[Outage]) -> Table:
    rows = [
        (
            f"{outage.event}{', mended' if outage.back else ''}",
            f"{outage.server}:{','.join(outage.ports)}" if outage.ports else outage.server,
            f"{outage.pps:,.0f}",
            f"{outage.sent:,}",
            f"{outage.lost:,}",
            f"{outage.seconds * 1000:.1f} ms",
        )
        for outage in outages
    ]
    columns = ("event", "at", "packets a second", "sent", "lost", "lost for")
    return Table("Failures, one stream of packets through the router", columns, tuple(rows))


def _tcp(runs: Iterable[TcpRun]) -> Table:
    rows = []
    for run in runs:
        ends = (str(run.connections), f"{run.source} to {run.destination}", f"{run.offered_bps / 1e9:.3f}")
        cells: tuple[Cell, ...] = (
            f"{run.rate_bps / 1e9:.3f}",
            f"{run.retransmitted:,}",
            f"{run.spurious:,}",
            f"{run.segments:,}",
            f"{run.out_of_order:,} ({run.share:.3%})",
        )
        rows.append((*ends, *(cells if run.failure is None else (Styled(run.failure, "bad"), "-", "-", "-", "-"))))
    columns = ("connections", "ports", "offered Gbps", "Gbps", "retransmitted", "in vain", "segments", "out of order")
    return Table("TCP by iperf3", columns, tuple(rows))


def _prediction_line(predicted_pps: int, rate: RateResult) -> str:
    part = f" (measured: {rate.rate_pps / predicted_pps:.1%} of it)" if rate.rate_pps and predicted_pps else ""
    return (
        f"predicted: {predicted_pps / 1e6:.2f} Mpps{part} in the plan's packet mix, "
        "each server with its cores to itself; in a lab all servers and testers share this machine's"
    )


def _pair(pair: Pair) -> str:
    return (
        f"sent {pair.sent}, received {pair.received}, lost {pair.lost}, duplicates {pair.duplicates}, "
        f"late {pair.late}, reordered sequences {pair.sequences}"
    )
