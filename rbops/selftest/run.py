"""The self-test: phases of real packets through the whole router, every packet checked at its exit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from rbops.dataplane import registry
from rbops.plan import ClusterPlan, Route
from rbops.selftest.counters import ReadCounters
from rbops.selftest.options import OVERALL_S, SelftestOptions
from rbops.selftest.phases import PhaseKind, choose, rates
from rbops.selftest.result import Fault, SelftestResult
from rbops.selftest.session import RunOn, Session, usual_flows
from rbops.selftest.setup import TesterLike, launch, make_bench, ports_with_testers, slow_testers

__all__ = ["SelftestOptions", "run_selftest"]


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
    where = ports_with_testers(plan, testers, options, routes)
    faults: list[Fault] = []
    with launch(where, 4 * OVERALL_S + (options.rates.seconds if rates.NAME in options.phases else 0)) as agents:
        flows = max(
            usual_flows([port for port, _ in where], options),
            *(kind.flows(len(where)) for kind in phases),
        )
        hops = partial(registry.controller(plan.forwarding.dataplane).hops, plan)
        bench = make_bench(where, agents, options, flows, faults, hops)
        session = Session(plan, bench, options, read_counters, progress, run_on)
        session.notes += slow_testers(bench)
        if plan.forwarding.tunnels:
            session.notes.append(
                "what goes through tunnels leaves as ESP: not tested, `rbops verify` looks at the keys"
            )
        _run_all(session, phases)
    faults += session.faults
    if (
        not any(phase.received for phase in session.phases)
        and not session.rate_runs
        and not session.latencies
        and not session.tcp_runs
        and not faults
    ):
        faults.append(Fault("nothing tested", "no packet was checked: nothing was tested", "all"))
    return SelftestResult(
        name=plan.name,
        digest=plan.digest,
        seed=options.seed,
        ports=tuple((port.port, port.server) for port, _ in where),
        phases=tuple(session.phases),
        rate=session.rate,
        faults=tuple(faults),
        seconds=time.monotonic() - started,
        notes=tuple(session.notes),
        predicted_pps=plan.prediction.rate_pps,
        outages=tuple(session.outages),
        rate_runs=tuple(session.rate_runs),
        latencies=tuple(session.latencies),
        tcp_runs=tuple(session.tcp_runs),
    )


def _run_all(session: Session, phases: Sequence[PhaseKind]) -> None:
    total = sum(kind.share for kind in phases) or 1
    for kind in phases:
        if kind.after_faults or not session.faults:
            kind.run(session, session.options.duration_s * kind.share / total)
