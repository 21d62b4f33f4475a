"""Traffic matrices of the simulator, offered by the testers: the paths that packets took beside those it predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rbops.dataplane import registry
from rbops.plan import ClusterPlan
from rbops.selftest.bench import Outcome
from rbops.selftest.counters import Readings
from rbops.selftest.matrices import POINTS, MatrixRun, Paths, compared
from rbops.selftest.options import MatrixOptions
from rbops.selftest.result import Fault, Phase
from rbops.selftest.session import Session
from rbops.selftest.traffic import Traffic

__all__ = ["NAME", "apportioned", "check", "flows", "run"]

NAME = "matrices"

_FLOWS, _ACTIVE = 512, 4
"""Of a port's flows so many are active at a time: flows begin and end all the time, as in a network."""

_APART = 2.0
"""A flow comes back after so many flowlet timeouts, and may then take another path."""

_ATTEMPTS = 5
_LONGEST = 4096
_WIRE = 20
"""Bytes on the wire beside a frame with FCS: preamble, delimiter and gap (IEEE 802.3)."""

_TAKEN = 0.98
"""The part of what was sent that servers must have taken in for their shares to be those of the matrix."""


def flows(testers: int) -> int:
    """Of a port, and so between two ports at most, in whole groups; as many as the sinks' tables hold."""
    return max(1, min(_FLOWS, 65536 // testers) // _ACTIVE) * _ACTIVE


def check(plan: ClusterPlan, wanted: MatrixOptions) -> None:
    """Raise UsageError (2) for a matrix that cannot be offered to the plan's ports, or where nothing can simulate."""
    if wanted.names:
        import rbops.selftest.simulated  # noqa: F401  needs numba, and says so
        from rbops.vlb.matrix import offered
        from rbops.vlb.network import network_of

        network = network_of(plan)
        for name in wanted.names:
            offered(name, network.owners, network.line_rate_bps)


def run(session: Session, seconds: float) -> None:
    """Each matrix for the time of the options; results are the session's ``matrix_runs``. ``seconds`` is not used."""
    del seconds
    wanted = session.options.matrices
    if reason := _impossible(session):
        session.matrix_runs += [MatrixRun(_named(name), wanted.load_of(name), reason=reason) for name in wanted.names]
        return
    for name in wanted.names:
        found = _measure(session, name, wanted)
        session.matrix_runs.append(found)
        far = found.farthest
        if far is not None and not found.agrees:
            way = "directly" if far.via is None else f"over {far.via}"
            text = (
                f"{far.measured:.1%} of what {far.source} sent to {far.destination} went {way}, simulated "
                f"{far.simulated:.1%}, expected within {100 * POINTS:g} points"
            )
            phase = f"{NAME} {found.matrix}"
            session.faults.append(Fault("shares", text, phase, server=far.source))


def _impossible(session: Session) -> str | None:
    plan, ports = session.plan, {tester.at.port for tester in session.bench.testers}
    if not registry.controller(plan.forwarding.dataplane).balances:
        return f"the data plane {plan.forwarding.dataplane} does not balance"
    if ports != set(plan.port_owner):
        return "it needs a tester on every external port"
    if not session.readings():
        return "the servers' counters are not read"
    return None


def _named(matrix: str) -> str:
    """As in results: a file without its folder."""
    return Path(matrix).name


def _measure(session: Session, name: str, wanted: MatrixOptions) -> MatrixRun:
    """One matrix; again where the router was overloaded, slower, or where the shares are not as simulated.

    What repeated packets do is added up: where flows go is chance too, and a machine that stops in the middle of a
    packet's way is seldom; a router that balances otherwise stays apart.
    """
    traffic = _traffic(session, name, wanted)
    asked = MatrixRun(_named(name), wanted.load_of(name), family=session.bench.family)
    measured, simulated = (dict[tuple[str, str], Counter[str | None]]() for _ in range(2))
    for attempt in range(_ATTEMPTS):
        outcome, counted = session.counted(traffic)
        taken = _taken(session, outcome, counted)
        if taken < _TAKEN:
            pps = (traffic.pps or 0) / 2
            text = f"the router took in only {taken:.1%} of what was sent"
            found = replace(asked, reason=text)
            session.notes.append(f"{traffic.name}: {text} at {2 * pps:,.0f} packets a second and port")
            traffic = replace(traffic, pps=pps, chunk=_chunk(pps), burst=_burst(session, pps))
            continue
        _add(_paths(outcome.phase), measured)
        _add(_simulated(session, traffic, outcome, counted), simulated)
        found = compared(asked, measured, simulated)
        if found.agrees is not False:
            break
        if attempt < _ATTEMPTS - 1:
            session.notes.append(f"{traffic.name}: not yet as simulated, sent again")
    session.phases.append(outcome.phase)
    return found


def _add(paths: Paths, total: dict[tuple[str, str], Counter[str | None]]) -> None:
    for ends, taken in paths.items():
        total.setdefault(ends, Counter()).update(taken)


def _simulated(session: Session, traffic: Traffic, outcome: Outcome, counted: Readings) -> Paths:
    from rbops.selftest.simulated import simulated_paths

    plan, testers = session.plan, session.bench.testers
    cores = {
        server.name: tuple(counted[server.name].entered_at.get(core, 0) for core in server.cores.dataplane)
        for server in plan.servers
        if counted[server.name].entered_at
    }
    cores = {name: packets for name, packets in cores.items() if any(packets)}
    return simulated_paths(plan, testers, traffic, outcome.chunks, cores, session.options.seed)


def _paths(phase: Phase) -> Paths:
    found: dict[tuple[str, str], dict[str | None, int]] = {}
    for path in phase.spread:
        if path.source != path.destination:
            found.setdefault((path.source, path.destination), {})[path.via] = path.packets
    return found


def _taken(session: Session, outcome: Outcome, counted: Readings) -> float:
    """The least part of what its testers sent that a server counted at its external ports."""
    owner: Mapping[int, str] = {tester.at.port: tester.at.server for tester in session.bench.testers}
    sent: dict[str, int] = {}
    for source in outcome.phase.sources:
        sent[owner[source.port]] = sent.get(owner[source.port], 0) + source.sent
    got = {name: counted[name].received.get("external", 0) if name in counted else 0 for name in sent}
    return min((got[name] / total for name, total in sent.items() if total), default=0.0)


def _traffic(session: Session, name: str, wanted: MatrixOptions) -> Traffic:
    """The matrix as flows: of a port's flows each pair has its part."""
    from rbops.vlb.matrix import offered
    from rbops.vlb.network import network_of

    bench, network = session.bench, network_of(session.plan)
    rate, load = network.line_rate_bps, wanted.load_of(name)
    whole = offered(name, network.owners, rate, load=load, seed=session.options.seed, quota=network.quota_share)
    order = {port: at for at, port in enumerate(sorted(session.plan.port_owner))}
    places = [order[tester.at.port] for tester in bench.testers]
    rows = whole[places][:, places]
    sizes = bench.sizes(session.options.pair_size)
    busiest = float(rows.sum(axis=1).max())
    only = {
        (source, to): count
        for source, row in enumerate(rows.tolist())
        if any(row)
        for to, count in enumerate(apportioned(row, flows(len(places))))
        if count
    }
    destinations = {source: tuple(to for at, to in only if at == source) for source, _ in only}
    parts = {source: float(rows[source].sum()) / busiest for source in destinations}
    pps = busiest / 8 / (sizes.mean + _WIRE)
    return Traffic(
        f"{NAME} {_named(name)}", sizes, destinations, wanted.seconds, pps, None, _chunk(pps),
        flows=max(only.values()), active=_ACTIVE, burst=_burst(session, pps), timed=True, only=only, parts=parts,
    )  # fmt: skip


def _chunk(pps: float) -> int:
    """Frames at once: a quarter of a millisecond's worth, so that their bursts do not decide where flows go."""
    return int(min(1024, max(1, pps / 4000)))


def _burst(session: Session, pps: float) -> int:
    """Packets of a flow in a row."""
    timeout = session.plan.forwarding.flowlet_timeout_s or 0.1
    return max(1, min(_LONGEST, round(_APART * timeout * pps / flows(len(session.bench.testers)))))


def apportioned(parts: Sequence[float], seats: int) -> list[int]:
    """``seats`` in proportion to ``parts``, by largest remainder."""
    exact = [part * seats / sum(parts) for part in parts]
    counts = [int(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda at: counts[at] - exact[at])
    for at in order[: seats - sum(counts)]:
        counts[at] += 1
    return counts
