"""The self-test: three phases of real packets through the whole router, every packet checked at its exit."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rbops.errors import Mismatch, UsageError
from rbops.plan import ClusterPlan, Route
from rbops.selftest.counters import ReadCounters, Readings, difference, parse, spread, suspicions
from rbops.selftest.naming import Evidence, name_faults
from rbops.selftest.phases import CAPACITY_WORDS, Bench, Outcome, run_phase
from rbops.selftest.result import Fault, Phase, RateResult, SelftestResult, Trial
from rbops.selftest.search import search
from rbops.selftest.stations import Site, Station, sites
from rbops.selftest.tester import Agents, TesterProcess
from rbops.selftest.traffic import Traffic, flows_per_pair
from rbops.selftest.wire import LARGEST_SIZE, SMALLEST_SIZE

__all__ = ["Options", "run_selftest"]

_MOST_FLOWS = 1024
_SHORTEST_S, _OVERALL_S = 0.5, 60.0
_RESOLVE_S = 3.0
_ATTEMPTS = 3
_TRIAL_S = 0.5
_PAIR_FLOWS, _PAIR_ACTIVE, _PAIR_BURST = 1024, 32, 64
_NOBODY = "02:00:00:00:00:00"
_HEADROOM = 0.5
"""The part of the direct quota that the matrix uses at most, so that nothing needs to be balanced."""


class TesterLike(Protocol):
    """What is needed of an inventory's tester (``rbops.deploy.inventory.Tester``)."""

    @property
    def port(self) -> int:
        """The external port it is on."""

    @property
    def netns(self) -> str | None:
        """Its network namespace; None: the initial one."""

    @property
    def device(self) -> str:
        """Its device."""

    @property
    def target(self) -> object | None:
        """None: on this machine."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a self-test does.

    ``duration_s``: seconds for all phases together, apart from start and end. ``packets``: from every
    port to every other one in the matrix; None: as many as fit. ``size``: bytes with FCS of the matrix
    and rate phases, ``pair_size`` of the pair phase. ``flows`` between two ports; None: one for every
    address behind the port, and some more. ``seed`` chooses addresses and the digest's key. ``phases``
    are run in the order matrix, pair, rate. ``servers``: only between the external ports of these.
    """

    duration_s: float = 12.0
    packets: int | None = None
    size: int = 64
    pair_size: int = LARGEST_SIZE
    flows: int | None = None
    seed: int = 1
    phases: tuple[str, ...] = ("matrix", "pair", "rate")
    servers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for values that make no self-test."""
        if not _SHORTEST_S <= self.duration_s <= _OVERALL_S:
            raise UsageError(f"a self-test takes {_SHORTEST_S:g} to {_OVERALL_S:g} seconds, not {self.duration_s:g}")
        for size in (self.size, self.pair_size):
            if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
                raise UsageError(f"frames have {SMALLEST_SIZE} to {LARGEST_SIZE} bytes with FCS, not {size}")
        if self.flows is not None and not 1 <= self.flows <= _MOST_FLOWS:
            raise UsageError(f"1 to {_MOST_FLOWS} flows between two ports can be told apart, not {self.flows}")
        if self.packets is not None and self.packets < 1:
            raise UsageError("--packets: at least one packet is needed for a test")


_SHARES = {"matrix": 0.5, "pair": 0.15, "rate": 0.35}


class _Run:
    """One run over prepared testers: keeps the time, reads the counters around each phase, gathers faults."""

    def __init__(
        self, plan: ClusterPlan, bench: Bench, options: Options, read_counters: ReadCounters | None,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.plan, self.bench, self.options = plan, bench, options
        self._read_counters, self._say = read_counters, say
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
        """Run a phase with counters around it, slower again if a tester outran its own device; name its faults."""
        self._say(f"{traffic.name}: {traffic.size}-byte frames for {traffic.seconds:.0f} s")
        for attempt in range(_ATTEMPTS):
            before = self.readings()
            outcome = run_phase(self.bench, traffic)
            after = self.readings()
            unsent = outcome.phase.unsent
            if not unsent or unsent == outcome.phase.sent or attempt == _ATTEMPTS - 1:
                break
            traffic = traffic.slower()
            self.notes.append(f"{traffic.name}: a tester outran its own device ({unsent:,} frames); repeated slower")
        counted: Readings = {
            name: difference(parse(before[name]), parse(after[name])) for name in after if name in before
        }
        outcome = replace(outcome, phase=replace(outcome.phase, spread=spread(self.plan, counted)))
        evidence = Evidence(outcome, self.bench.stations, ordered, (), counted)
        evidence = replace(evidence, suspicions=suspicions(self.plan, counted, evidence.handed))
        self.phases.append(outcome.phase)
        self.faults += name_faults(evidence)
        return outcome


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
    places = sites(plan, seed=options.seed, routes=routes)
    if options.servers is not None:
        places = tuple(site for site in places if site.server in options.servers)
    standing = _match(places, testers)
    if os.geteuid() != 0:
        raise UsageError("the self-test sends and checks packets with XDP: it needs root", hint="run it with sudo")
    faults: list[Fault] = []
    with Agents(_launch(places, standing)) as agents:
        agents.start()
        bench = _bench(places, agents, options, faults)
        run = _Run(plan, bench, options, read_counters, progress)
        rate = _phases(run) if len(bench.stations) > 1 else None
    faults += run.faults
    if not any(phase.received for phase in run.phases) and not faults:
        faults.append(Fault("nothing tested", "no packet was checked: nothing was tested", "all"))
    return SelftestResult(
        name=plan.name,
        digest=plan.digest,
        seed=options.seed,
        ports=tuple((site.port, site.server) for site in places),
        phases=tuple(run.phases),
        rate=rate,
        faults=tuple(faults),
        seconds=time.monotonic() - started,
        notes=tuple(run.notes),
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


def _match(places: Sequence[Site], testers: Iterable[TesterLike]) -> dict[int, TesterLike]:
    by_port = {tester.port: tester for tester in testers}
    missing = [site.port for site in places if site.port not in by_port]
    if missing:
        raise Mismatch(
            f"no tester in the inventory for external port {', '.join(map(str, missing))}",
            hint="put one host for each external port into the group rbops_testers; `rbops lab up` does",
        )
    if len(places) < 2:  # noqa: PLR2004  from one port to another
        raise Mismatch("a self-test needs two external ports: from one to the other")
    remote = [site.port for site in places if by_port[site.port].target is not None]
    if remote:
        raise Mismatch(
            f"the tester of external port {', '.join(map(str, remote))} is on another machine",
            hint="testers are run on this machine: ansible_connection local, with rbops_netns and rbops_device",
        )
    return by_port


def _launch(places: Sequence[Site], standing: Mapping[int, TesterLike]) -> list[TesterProcess]:
    """One agent per port, on as many cores as every port has queues: a queue then has one sender (rule 1)."""
    queues = min(site.queues for site in places)
    cpus = sorted(os.sched_getaffinity(0))[:queues]
    lifetime = _OVERALL_S * 4
    agents: list[TesterProcess] = []
    try:
        for index, site in enumerate(places):
            tester = standing[site.port]
            agents.append(
                TesterProcess(site.port, tester.device, tester.netns, cpu=cpus[index % len(cpus)], lifetime_s=lifetime)
            )
    except BaseException:
        for agent in agents:
            agent.close()
        raise
    return agents


def _bench(places: Sequence[Site], agents: Agents, options: Options, faults: list[Fault]) -> Bench:
    facts = agents.call("hello")
    most = max(_flows(places, options), _pair_flows(len(places)))
    agents.call("attach", testers=len(places), flows=most, words=CAPACITY_WORDS)
    questions = [{"address": site.router_address, "own": site.address, "wait_s": _RESOLVE_S} for site in places]
    answers = agents.each("resolve", questions)
    stations = []
    for index, (site, fact, answer) in enumerate(zip(places, facts, answers, strict=True)):
        if answer["mac"] is None:
            faults.append(_silent(site))
        stations.append(Station(index, site, fact["mac"], answer["mac"] or _NOBODY))
    choose = random.Random(options.seed)  # noqa: S311  tells runs apart, keeps no secret
    keys = (choose.getrandbits(64), choose.getrandbits(64))
    return Bench(agents, stations, random.SystemRandom().getrandbits(20), keys)


def _silent(site: Site) -> Fault:
    """A port on which the router does not answer is a fault; the test goes on, to find what else is wrong."""
    text = f"{site.server} does not answer ARP for {site.router_address} on port {site.port}: is {site.server} up?"
    return Fault("nothing arrived", text, "start", 0, site.port, None, site.server)


def _flows(places: Sequence[Site], options: Options) -> int:
    return options.flows or flows_per_pair(len(places), max(len(site.targets) for site in places))


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
    return None if slowest == float("inf") else slowest


def _matrix(run: _Run) -> None:
    pps = _below_quota(run)
    others = len(run.bench.stations) - 1
    frames = None if run.options.packets is None else run.options.packets * others
    seconds = run.seconds("matrix")
    if frames is not None:
        # The number was asked for, not the time; what a slow machine does not send by then is said.
        seconds = max(seconds, min(_OVERALL_S, (frames / pps if pps else 0) + _OVERALL_S / 2))
    traffic = Traffic(
        "matrix", run.options.size, _everyone(run.bench), seconds, pps, frames, _chunk(pps), flows=run.flows
    )
    forwarding = run.plan.forwarding
    keeps_order = forwarding.routing == "direct-vlb" and forwarding.flowlet_timeout_s > 0
    outcome = run.checked(traffic, ordered=keeps_order)
    sent = min(source.sent for source in outcome.phase.sources)
    if frames is not None and sent < frames:
        run.notes.append(f"matrix: only {sent:,} of {frames:,} packets a port could be sent in {seconds:.0f} s")


def _pair(run: _Run) -> None:
    """One input port at its line rate for one output port of another server: more than the direct path may carry.

    Flows come and go, as in the trace of paper 6.2: ``_PAIR_ACTIVE`` at a time send ``_PAIR_BURST`` packets each.
    """
    stations = run.bench.stations
    first = stations[0]
    last = next((item for item in reversed(stations) if item.site.server != first.site.server), stations[-1])
    pps = first.site.rate_bps / (run.options.pair_size * 8)
    destinations = {first.index: (last.index,)}
    groups: dict[str, int] = {"flows": run.options.flows} if run.options.flows else {
        "flows": _pair_flows(len(stations)), "active": _PAIR_ACTIVE, "burst": _PAIR_BURST
    }  # fmt: skip
    traffic = Traffic(
        "pair", run.options.pair_size, destinations, run.seconds("pair"), pps, None, _chunk(pps), **groups
    )
    run.checked(traffic, ordered=False)


def _chunk(pps: float | None) -> int:
    """Frames between two looks at the clock: a millisecond's worth."""
    return 4096 if pps is None else int(min(4096, max(64, pps / 1000)))


def _rate(run: _Run) -> RateResult:
    ends = time.monotonic() + run.seconds("rate")
    trial_s = min(_TRIAL_S, run.seconds("rate") / 4)
    senders = len(run.bench.stations)

    def trial(offered: float | None) -> Trial:
        pps = None if offered is None else offered / senders
        traffic = Traffic(
            "rate", run.options.size, _everyone(run.bench), trial_s, pps, None, _chunk(pps), flows=run.flows
        )
        phase = run_phase(run.bench, traffic).phase
        sent_pps = sum(source.rate_pps for source in phase.sources)
        return Trial(offered, sent_pps, phase.sent, phase.lost, phase.unsent)

    return search(trial, size=run.options.size, time_left=lambda: time.monotonic() + trial_s < ends)
