"""The self-test: three phases of real packets through the whole router, every packet checked at its exit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rbops.plan import ClusterPlan, Route
from rbops.selftest.counters import ReadCounters, Readings, difference, parse, spread, suspicions
from rbops.selftest.naming import Evidence, name_faults
from rbops.selftest.options import OVERALL_S, Options
from rbops.selftest.pace import less
from rbops.selftest.phases import Bench, Outcome, run_phase
from rbops.selftest.result import Fault, Phase, PortService, RateResult, SelftestResult, Trial
from rbops.selftest.search import search
from rbops.selftest.serving import affinity_faults, parse_served, service
from rbops.selftest.setup import TesterLike, launch, make_bench, places
from rbops.selftest.stations import Site
from rbops.selftest.traffic import Traffic, chunk_at, flows_per_pair

__all__ = ["Options", "run_selftest"]

_ATTEMPTS = 3
_TRIAL_S = 0.5
_PAIR_FLOWS, _PAIR_ACTIVE, _PAIR_BURST = 1024, 32, 64
_HEADROOM = 0.5
"""The part of the direct quota that the matrix uses at most, so that nothing needs to be balanced."""


_SOCKET_PART = 1 / 16
"""The part of the predicted rate at which the matrix offers packets to a router on sockets."""

_OVERLOAD = ("loss", "nothing arrived", "unsent")
"""What a router may do when it is offered too much; packets that come out wrong are a fault at any rate."""

_PATIENCE = 3
"""The rate's share of the time so often, when no trial has passed: on a busy machine one trial may take all of it."""

_SHARES = {"matrix": 0.5, "pair": 0.15, "rate": 0.35}


class _Run:
    """One run over prepared testers: keeps the time, reads the counters around each phase, gathers faults."""

    def __init__(
        self, plan: ClusterPlan, bench: Bench, options: Options, read_counters: ReadCounters | None,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.plan, self.bench, self.options = plan, bench, options
        self._read_counters, self.say = read_counters, say
        self.phases: list[Phase] = []
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    @property
    def flows(self) -> int:
        """Between two ports, in the matrix and rate phases."""
        return _flows([station.site for station in self.bench.stations], self.options)

    def seconds(self, phase: str) -> float:
        """The phase's share of the duration."""
        total = sum(_SHARES[name] for name in self.options.phases)
        return self.options.duration_s * _SHARES[phase] / total

    def readings(self) -> dict[str, Mapping[str, object]]:
        """The counters as they stand now; nothing without a reader."""
        return dict(self._read_counters()) if self._read_counters else {}

    def checked(self, traffic: Traffic, *, ordered: bool) -> Outcome:
        """Run a phase with counters around it, slower again if it was too much for somebody; name its faults."""
        self.say(f"{traffic.name}: {traffic.size}-byte frames for {traffic.seconds:.0f} s")
        for attempt in range(_ATTEMPTS):
            before = self.readings()
            outcome = run_phase(self.bench, traffic)
            after = self.readings()
            slower = None if attempt == _ATTEMPTS - 1 else less(traffic, outcome.phase)
            if slower is None:
                break
            traffic, reason = slower
            self.notes.append(f"{traffic.name}: {reason}; repeated at {traffic.pps:,.0f} packets a second and port")
        counted: Readings = {
            name: difference(parse(before[name]), parse(after[name])) for name in after if name in before
        }
        served = self._served(before, after) if traffic.name == "matrix" else ()
        outcome = replace(outcome, phase=replace(outcome.phase, spread=spread(self.plan, counted), service=served))
        evidence = Evidence(outcome, self.bench.stations, ordered, (), counted)
        evidence = replace(evidence, suspicions=suspicions(self.plan, counted, evidence.handed))
        self.phases.append(outcome.phase)
        self.faults += name_faults(evidence)
        self.faults += affinity_faults(served, traffic.name)
        return outcome

    def _served(
        self, before: dict[str, Mapping[str, object]], after: dict[str, Mapping[str, object]]
    ) -> tuple[PortService, ...]:
        """Which core served which queue between two readings, of the servers that tell."""
        counts = {}
        for name in after.keys() & before.keys():
            first, last = parse_served(before[name]), parse_served(after[name])
            if first is not None and last is not None:
                counts[name] = last.since(first)
        return service(self.plan, counts)


def run_selftest(
    plan: ClusterPlan,
    testers: Iterable[TesterLike],
    read_counters: ReadCounters | None,
    options: Options,
    *,
    routes: Iterable[Route] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> SelftestResult:
    """Send packets into every external port for every other one and check each of them at its exit.

    ``read_counters`` gives the servers' counters (see rbops.selftest.counters), None leaves them out;
    ``routes`` are those of the plan's route file. Needs root. Faults are part of the result. Raises
    Mismatch (3) when a port has no usable tester, Unreachable (4) from ``read_counters``, CheckFailed
    (1) when a tester fails in the middle.
    """
    started = time.monotonic()
    where = places(plan, testers, options, routes)
    faults: list[Fault] = []
    with launch(where) as agents:
        flows = max(_flows([site for site, _ in where], options), _pair_flows(len(where)))
        run = _Run(plan, make_bench(where, agents, options, flows, faults), options, read_counters, progress)
        if plan.forwarding.tunnels:
            run.notes.append("what goes through tunnels leaves as ESP: not tested, `rbops verify` looks at the keys")
        rate = _phases(run)
    faults += run.faults
    if not any(phase.received for phase in run.phases) and not faults:
        faults.append(Fault("nothing tested", "no packet was checked: nothing was tested", "all"))
    return SelftestResult(
        name=plan.name,
        digest=plan.digest,
        seed=options.seed,
        ports=tuple((site.port, site.server) for site, _ in where),
        phases=tuple(run.phases),
        rate=rate,
        faults=tuple(faults),
        seconds=time.monotonic() - started,
        notes=tuple(run.notes),
        predicted_pps=plan.prediction.rate_pps,
    )


def _phases(run: _Run) -> RateResult | None:
    rate = None
    if "matrix" in run.options.phases:
        _matrix(run)
    if "pair" in run.options.phases:
        _pair(run)
    if "rate" in run.options.phases and not run.faults:
        rate = _rate(run)
    return rate


def _flows(sites: Sequence[Site], options: Options) -> int:
    return options.flows or flows_per_pair(len(sites), max(len(site.targets) for site in sites))


def _pair_flows(testers: int) -> int:
    """As many as the sinks' tables bear, in whole groups."""
    return max(2, min(_PAIR_FLOWS, 65536 // testers) // _PAIR_ACTIVE) * _PAIR_ACTIVE


def _everyone(bench: Bench) -> dict[int, tuple[int, ...]]:
    count = len(bench.stations)
    return {index: tuple(to for to in range(count) if to != index) for index in range(count)}


def _below_quota(run: _Run) -> float | None:
    """The packet rate of one source at which every flow stays well below the direct quota and its port's rate."""
    quota = run.plan.forwarding.direct_quota_bps
    bits = (run.options.size - 4) * 8
    slowest = float("inf")
    for station in run.bench.stations:
        owner = run.plan.server(station.site.server)
        cores = max(1, len(owner.cores.dataplane))
        shared = max(len(server.external_ports) for server in run.plan.servers)
        others = len(run.bench.stations) - 1
        direct = quota / cores / (shared * shared) * others if quota else float("inf")
        slowest = min(slowest, _HEADROOM * min(direct, station.site.rate_bps) / bits)
    if run.plan.forwarding.on_sockets:
        # Sockets lose packets long before line rate, and in a lab all servers share this machine's cores.
        slowest = min(slowest, _SOCKET_PART * run.plan.prediction.rate_pps / len(run.bench.stations))
    return None if slowest == float("inf") else slowest


def _matrix(run: _Run) -> None:
    pps = _below_quota(run)
    others = len(run.bench.stations) - 1
    frames = None if run.options.packets is None else run.options.packets * others
    seconds = run.seconds("matrix")
    if frames is not None:
        # The number was asked for, not the time; what a slow machine does not send by then is said.
        seconds = max(seconds, min(OVERALL_S, (frames / pps if pps else 0) + OVERALL_S / 2))
    traffic = Traffic(
        "matrix", run.options.size, _everyone(run.bench), seconds, pps, frames, chunk_at(pps), flows=run.flows
    )
    forwarding = run.plan.forwarding
    keeps_order = forwarding.routing == "direct-vlb" and forwarding.flowlet_timeout_s > 0
    outcome = run.checked(traffic, ordered=keeps_order)
    sent = min(source.sent for source in outcome.phase.sources)
    if frames is not None and sent < frames:
        run.notes.append(f"matrix: only {sent:,} of {frames:,} packets a port could be sent in {seconds:.0f} s")


def _pair(run: _Run) -> None:
    """One input port at its line rate for one output port of another server: more than the direct path may carry.

    A tester sends from one core, and on veth all its frames reach the same core of the server, which holds one
    core's share of the quotas: it gets that share of the line rate.

    Flows come and go, as in the trace of paper 6.2: ``_PAIR_ACTIVE`` at a time send ``_PAIR_BURST`` packets each.
    """
    stations = run.bench.stations
    first = stations[0]
    last = next((item for item in reversed(stations) if item.site.server != first.site.server), stations[-1])
    cores = len(run.plan.server(first.site.server).cores.dataplane)
    pps = first.site.rate_bps / cores / (run.options.pair_size * 8)
    destinations = {first.index: (last.index,)}
    groups = (
        {"flows": run.options.flows} if run.options.flows else _pair_groups(len(stations), pps * run.seconds("pair"))
    )
    traffic = Traffic(
        "pair", run.options.pair_size, destinations, run.seconds("pair"), pps, None, chunk_at(pps), **groups
    )
    run.checked(traffic, ordered=False)


def _pair_groups(testers: int, packets: float) -> dict[str, int]:
    """Flows, how many at a time, and each one's burst: not more of them in one round than a slow router is offered."""
    flows, burst = _pair_flows(testers), _PAIR_BURST
    if flows * burst > packets:
        flows = max(_PAIR_ACTIVE, int(packets / burst) // _PAIR_ACTIVE * _PAIR_ACTIVE)
        burst = max(1, min(burst, int(packets) // flows))
    return {"flows": flows, "active": _PAIR_ACTIVE, "burst": burst}


def _rate(run: _Run) -> RateResult:
    started, share = time.monotonic(), run.seconds("rate")
    trial_s = min(_TRIAL_S, share / 4)
    run.say(f"rate: {run.options.size}-byte frames, trials of {trial_s:g} s")
    senders = len(run.bench.stations)

    def trial(offered: float | None) -> Trial:
        pps = None if offered is None else offered / senders
        traffic = Traffic(
            "rate", run.options.size, _everyone(run.bench), trial_s, pps, None, chunk_at(pps), flows=run.flows
        )
        outcome = run_phase(run.bench, traffic)
        phase = outcome.phase
        wrong = name_faults(Evidence(outcome, run.bench.stations, ordered=False))
        run.faults += [fault for fault in wrong if fault.kind not in _OVERLOAD]
        sent_pps = sum(source.rate_pps for source in phase.sources)
        return Trial(offered, sent_pps, phase.sent, phase.lost, phase.unsent)

    def time_left(found_pps: float) -> bool:
        return time.monotonic() + trial_s < started + share * (1 if found_pps else _PATIENCE)

    # Fewer than a round over all flows says nothing, and a round is always ended: its time is not the trial's then.
    least = senders * (senders - 1) * run.flows / trial_s
    return search(trial, size=run.options.size, time_left=time_left, start_pps=_first_rate(run), least_pps=least)


def _first_rate(run: _Run) -> float | None:
    """Of the search, all ports together: for sockets the predicted rate, or twice what the matrix has proved."""
    if not run.plan.forwarding.on_sockets:
        return None
    proved = [
        2 * phase.rate_pps for phase in run.phases if phase.name == "matrix" and phase.received and not phase.lost
    ]
    return max(1.0, min([float(run.plan.prediction.rate_pps), *proved]))
