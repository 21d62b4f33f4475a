"""One run of the self-test over prepared testers: what the phases share, and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rbops.errors import CheckFailed
from rbops.plan import ClusterPlan
from rbops.selftest.balance import balance
from rbops.selftest.bench import Bench, Outcome, run_phase
from rbops.selftest.counters import ReadCounters, Readings, black_holes, difference, parse, spread, suspicions
from rbops.selftest.diagnosis import Evidence, diagnose
from rbops.selftest.example import MOST, Example
from rbops.selftest.latency import LatencyPoint
from rbops.selftest.matrices import MatrixRun
from rbops.selftest.options import SelftestOptions
from rbops.selftest.outage import Outage
from rbops.selftest.pace import slower
from rbops.selftest.ports import PortUnderTest
from rbops.selftest.rateresult import RateRun
from rbops.selftest.result import Fault, Phase, PortService, RateResult
from rbops.selftest.serving import affinity_faults, parse_queue_counts, service
from rbops.selftest.sizes import Captured, FrameSizes
from rbops.selftest.soak import SoakResult
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.traffic import Traffic, flows_per_pair
from rbops.selftest.tunnelrun import TunnelRun

__all__ = ["RunOn", "Session", "usual_flows"]

_ATTEMPTS = 3

_OVERLOAD_KINDS = ("loss", "nothing arrived", "unsent")
"""What an overloaded router may do; wrong packets are a fault at any rate."""

RunOn = Callable[[str, Sequence[str]], str]
"""Runs a command on a server as root; its stdout. CheckFailed (1) when it fails."""


def usual_flows(ports: Sequence[PortUnderTest], options: SelftestOptions) -> int:
    """Flows between two ports, in the phases that need no other number."""
    return options.flows or flows_per_pair(len(ports), max(len(port.targets) for port in ports))


def _difference(before: Mapping[str, Mapping[str, object]], after: Mapping[str, Mapping[str, object]]) -> Readings:
    return {name: difference(parse(before[name]), parse(after[name])) for name in after if name in before}


class Session:
    """Reads the servers' counters around each phase, and gathers results and faults."""

    def __init__(
        self, plan: ClusterPlan, bench: Bench, options: SelftestOptions, read_counters: ReadCounters | None,
        say: Callable[[str], None], run_on: RunOn | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.bench, self.options = plan, bench, options
        self._read_counters, self.say, self._run_on = read_counters, say, run_on
        self.phases: list[Phase] = []
        self.rates: dict[int, RateResult] = {}
        self.rate_runs: list[RateRun] = []
        self.latencies: list[LatencyPoint] = []
        self.tcp_runs: list[TcpRun] = []
        self.tunnel_runs: list[TunnelRun] = []
        self.soaks: list[SoakResult] = []
        self.matrix_runs: list[MatrixRun] = []
        self.outages: list[Outage] = []
        self.faults: list[Fault] = []
        self.examples: list[Example] = []
        self.notes: list[str] = []

    @property
    def flows(self) -> int:
        """Between two ports, in the phases that need no other number."""
        return usual_flows([tester.at for tester in self.bench.testers], self.options)

    @property
    def rate(self) -> RateResult | None:
        """The highest rate without loss of the family that is tested now."""
        return self.rates.get(self.bench.family)

    @rate.setter
    def rate(self, found: RateResult) -> None:
        self.rates[self.bench.family] = found

    def found_rates(self) -> dict[FrameSizes, float]:
        """Packets a second of all ports by what is sent: PDR (the lowest of the runs), or the highest without loss."""
        found: dict[FrameSizes, float] = {}
        for one in self.rate_runs:
            if one.pdr.lower_pps and one.family == self.bench.family:
                sizes = self._sizes_of(one.mix or one.size)
                found[sizes] = min(found.get(sizes, float("inf")), one.pdr.lower_pps)
        if not found and self.rate is not None and self.rate.rate_pps:
            found[self._sizes_of(self.rate.mix or self.rate.size)] = self.rate.rate_pps
        return found

    def _sizes_of(self, name: int | str) -> FrameSizes:
        """What was sent, by its name in results: a capture's sizes are known by its file's."""
        asked = (self.options.size, *self.options.rates.sizes)
        return self.bench.sizes(next((one for one in asked if isinstance(one, Captured) and one.name == name), name))

    @property
    def sizes(self) -> FrameSizes:
        """Of frames in the phases that need no other."""
        return self.bench.sizes(self.options.size)

    @property
    def everyone(self) -> dict[int, tuple[int, ...]]:
        """Every tester sends to every other one, by index."""
        count = len(self.bench.testers)
        return {index: tuple(to for to in range(count) if to != index) for index in range(count)}

    def readings(self) -> dict[str, Mapping[str, object]]:
        """The counters as they are now; empty without a reader."""
        return dict(self._read_counters()) if self._read_counters else {}

    @property
    def reaches_servers(self) -> bool:
        """Whether :meth:`on` can be used."""
        return self._run_on is not None

    def on(self, server: str, command: str) -> str:
        """Run a shell command on a server as root; its stdout. Raises CheckFailed (1) when it fails."""
        if self._run_on is None:
            raise CheckFailed("no way to run commands on the servers", code="selftest.command")
        return self._run_on(server, ["sh", "-c", command])

    def judged(self, outcome: Outcome) -> None:
        """Keep what was wrong with packets, whatever the load was; what an overloaded router may do is none of it."""
        wrong = diagnose(Evidence(outcome, self.bench.testers, ordered=False))
        self.faults += [fault for fault in wrong if fault.kind not in _OVERLOAD_KINDS]
        self._keep(outcome)

    def _keep(self, outcome: Outcome) -> None:
        self.examples += outcome.examples[: MOST - len(self.examples)]

    def checked(self, traffic: Traffic, *, ordered: bool, queues: bool = False) -> Outcome:
        """Run a phase with counters around it, slower again if it overloaded something; diagnose its faults.

        ``ordered``: packets of a flow must arrive in order. ``queues``: also check which core served which queue.
        """
        self.say(f"{self.bench.named(traffic.name)}: {traffic.sizes.named} for {traffic.seconds:.0f} s")
        for attempt in range(_ATTEMPTS):
            outcome, before, after = self._between_readings(traffic)
            counted = _difference(before, after)
            holes = black_holes(self.plan, counted, outcome.phase.lost)
            # At a lower rate all packets may go direct, and what lies on the other paths would not be seen.
            repeat = None if holes or attempt == _ATTEMPTS - 1 else slower(traffic, outcome.phase)
            if repeat is None:
                break
            traffic, reason = repeat
            name = outcome.phase.name
            self.notes.append(f"{name}: {reason}; repeated at {traffic.pps:,.0f} packets a second and port")
        served = self._served(before, after) if queues else ()
        outcome = replace(outcome, phase=replace(self._spread(traffic, outcome.phase, counted), service=served))
        evidence = Evidence(outcome, self.bench.testers, ordered, (), counted)
        found = dict.fromkeys((*holes, *suspicions(self.plan, counted, evidence.handed)))
        evidence = replace(evidence, suspicions=tuple(found))
        self.phases.append(outcome.phase)
        self.faults += diagnose(evidence)
        self._keep(outcome)
        self.faults += affinity_faults(served, outcome.phase.name)
        return outcome

    def counted(self, traffic: Traffic) -> tuple[Outcome, Readings]:
        """Run a phase with counters around it, and keep wrong packets as faults; loss is none, as under overload."""
        self.say(f"{self.bench.named(traffic.name)}: {traffic.sizes.named} for {traffic.seconds:.0f} s")
        outcome, before, after = self._between_readings(traffic)
        counted = _difference(before, after)
        self.judged(outcome)
        return replace(outcome, phase=self._spread(traffic, outcome.phase, counted)), counted

    def _between_readings(
        self, traffic: Traffic
    ) -> tuple[Outcome, dict[str, Mapping[str, object]], dict[str, Mapping[str, object]]]:
        before = self.readings()
        outcome = run_phase(self.bench, traffic)
        return outcome, before, self.readings()

    def _spread(self, traffic: Traffic, phase: Phase, counted: Readings) -> Phase:
        seconds = max((one.seconds for one in phase.sources), default=0)
        even = balance(self.plan, counted, traffic.sizes.mean, seconds)
        return replace(phase, spread=spread(self.plan, counted), balance=even)

    def _served(
        self, before: dict[str, Mapping[str, object]], after: dict[str, Mapping[str, object]]
    ) -> tuple[PortService, ...]:
        """Which core served which queue between two readings, of the servers that report it."""
        counts = {}
        for name in after.keys() & before.keys():
            first, last = parse_queue_counts(before[name]), parse_queue_counts(after[name])
            if first is not None and last is not None:
                counts[name] = last.since(first)
        return service(self.plan, counts)
