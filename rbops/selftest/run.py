"""The self-test: phases of real packets through the whole router, every packet checked at its exit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from rbops.dataplane import registry
from rbops.errors import UsageError
from rbops.plan import ClusterPlan, Route
from rbops.selftest.bench import Bench
from rbops.selftest.beside import beside_paper
from rbops.selftest.counters import ReadCounters
from rbops.selftest.options import OVERALL_S, SelftestOptions
from rbops.selftest.phases import PhaseKind, choose, rates
from rbops.selftest.result import Fault, SelftestResult
from rbops.selftest.session import RunOn, Session, usual_flows
from rbops.selftest.setup import (
    PortWithTester,
    TesterLike,
    launch,
    make_benches,
    ports_with_testers,
    ports_with_testers6,
    slow_testers,
)

__all__ = ["SelftestOptions", "ports_to_test", "run_selftest"]


def run_selftest(
    plan: ClusterPlan,
    testers: Iterable[TesterLike],
    read_counters: ReadCounters | None,
    options: SelftestOptions,
    *,
    routes: Iterable[Route] = (),
    progress: Callable[[str], None] = lambda _: None,
    run_on: RunOn | None = None,
) -> SelftestResult:
    """Send packets into every external port for every other one and check each of them at its exit.

    ``read_counters`` gives the servers' counters (see rbops.selftest.counters), None leaves them out;
    ``routes`` are those of the plan's route file; ``run_on`` runs commands on servers, for phases that break something
    there. Needs root. Faults are part of the result. Raises
    Mismatch (3) when a port has no usable tester, Unreachable (4) from ``read_counters``, CheckFailed
    (1) when a tester fails in the middle.
    """
    started = time.monotonic()
    phases = choose(options.phases)
    where, others, notes = ports_to_test(plan, testers, options, routes)
    faults: list[Fault] = []
    families = 2 if others else 1
    searching = families * options.rates.seconds if rates.NAME in options.phases else 0
    searching += options.soak.seconds
    with launch(where, 4 * OVERALL_S * families + searching) as agents:
        tested = [[port for port, _ in ports] for ports in (where, others) if ports]
        flows = max(
            *(usual_flows(ports, options) for ports in tested),
            *(kind.flows(len(ports)) for kind in phases for ports in tested),
        )
        hops = partial(registry.controller(plan.forwarding.dataplane).hops, plan)
        benches = make_benches(where, agents, options, flows, faults, hops, [port for port, _ in others])
        session = Session(plan, benches[0], options, read_counters, progress, run_on)
        session.notes += [*notes, *slow_testers(session.bench)]
        _run_all(session, phases, benches)
    faults += session.faults
    if (
        not any(phase.received for phase in session.phases)
        and not session.rate_runs
        and not session.latencies
        and not session.soaks
        and not session.tcp_runs
        and not session.tunnel_runs
        and not faults
    ):
        faults.append(Fault("nothing tested", "no packet was checked: nothing was tested", "all"))
    return SelftestResult(
        name=plan.name,
        digest=plan.digest,
        seed=options.seed,
        ports=tuple((port.port, port.server) for port, _ in where),
        phases=tuple(session.phases),
        rate=session.rates.get(4),
        rate6=session.rates.get(6),
        faults=tuple(faults),
        seconds=time.monotonic() - started,
        notes=tuple(session.notes),
        predicted_pps=plan.prediction.rate_pps,
        outages=tuple(session.outages),
        rate_runs=tuple(session.rate_runs),
        latencies=tuple(session.latencies),
        tcp_runs=tuple(session.tcp_runs),
        tunnel_runs=tuple(session.tunnel_runs),
        examples=tuple(session.examples),
        soaks=tuple(session.soaks),
        matrices=tuple(session.matrix_runs),
        paper=beside_paper(plan, session.phases, session.rates.get(4), session.rate_runs, session.latencies),
    )


def ports_to_test(
    plan: ClusterPlan, testers: Iterable[TesterLike], options: SelftestOptions, routes: Iterable[Route] = ()
) -> tuple[tuple[PortWithTester, ...], tuple[PortWithTester, ...], list[str]]:
    """The ports with their testers, those that are tested with IPv6 after IPv4, and notes; changes nothing.

    Raises Mismatch (3) when a port has no usable tester, UsageError (2) without root, for a family that no two
    ports have, or for a port that the plan has not.
    """
    testers = tuple(testers)
    if unknown := sorted(set(options.ports or ()) - set(plan.port_owner)):
        raise UsageError(
            f"--ports: {', '.join(map(str, unknown))}: not an external port of the plan, which has "
            f"{', '.join(map(str, sorted(plan.port_owner)))}",
            code="selftest.unknown-port",
        )
    if options.family == 4:  # noqa: PLR2004  the family
        return ports_with_testers(plan, testers, options, routes), (), []
    others, note = ports_with_testers6(plan, testers, options)
    if options.family is None:
        return ports_with_testers(plan, testers, options, routes), others, [note] if note else []
    if not others:
        raise UsageError(
            note or "the spec has no IPv6, nothing to test with --family 6",
            code="selftest.family",
            hint="give two ports `ipv6: {address: ..., neighbors: [{address: ..., mac: ...}]}`",
        )
    return others, (), [note] if note else []


def _run_all(session: Session, phases: Sequence[PhaseKind], benches: Sequence[Bench]) -> None:
    """Every phase for IPv4, then for IPv6 those whose result may be another one."""
    runs = [(kind, bench) for at, bench in enumerate(benches) for kind in phases if kind.each_family or at == 0]
    total = sum(kind.share for kind, _ in runs) or 1
    for kind, bench in runs:
        if kind.after_faults or not session.faults:
            session.bench = bench
            kind.run(session, session.options.duration_s * kind.share / total)
