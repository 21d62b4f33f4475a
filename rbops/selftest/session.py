"""One run of the self-test over prepared testers: what every phase needs of it, and what the phases found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rbops.plan import ClusterPlan
from rbops.selftest.bench import Bench, Outcome, run_phase
from rbops.selftest.counters import ReadCounters, Readings, difference, parse, spread, suspicions
from rbops.selftest.naming import Evidence, name_faults
from rbops.selftest.options import Options
from rbops.selftest.pace import less
from rbops.selftest.result import Fault, Phase, PortService, RateResult
from rbops.selftest.serving import affinity_faults, parse_served, service
from rbops.selftest.stations import Site
from rbops.selftest.traffic import Traffic, flows_per_pair

__all__ = ["Session", "usual_flows"]

_ATTEMPTS = 3


def usual_flows(sites: Sequence[Site], options: Options) -> int:
    """Flows between two ports, in the phases that need no other number."""
    return options.flows or flows_per_pair(len(sites), max(len(site.targets) for site in sites))


class Session:
    """Reads the servers' counters around each phase, and gathers results and faults."""

    def __init__(
        self, plan: ClusterPlan, bench: Bench, options: Options, read_counters: ReadCounters | None,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.plan, self.bench, self.options = plan, bench, options
        self._read_counters, self.say = read_counters, say
        self.phases: list[Phase] = []
        self.rate: RateResult | None = None
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    @property
    def flows(self) -> int:
        """Between two ports, in the phases that need no other number."""
        return usual_flows([station.site for station in self.bench.stations], self.options)

    @property
    def everyone(self) -> dict[int, tuple[int, ...]]:
        """Every station sends to every other one, by index."""
        count = len(self.bench.stations)
        return {index: tuple(to for to in range(count) if to != index) for index in range(count)}

    def readings(self) -> dict[str, Mapping[str, object]]:
        """The counters as they are now; empty without a reader."""
        return dict(self._read_counters()) if self._read_counters else {}

    def checked(self, traffic: Traffic, *, ordered: bool, queues: bool = False) -> Outcome:
        """Run a phase with counters around it, slower again if it was too much for somebody; name its faults.

        ``ordered``: packets of a flow must arrive in order. ``queues``: also check which core served which queue.
        """
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
        served = self._served(before, after) if queues else ()
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
        """Which core served which queue between two readings, of the servers that report it."""
        counts = {}
        for name in after.keys() & before.keys():
            first, last = parse_served(before[name]), parse_served(after[name])
            if first is not None and last is not None:
                counts[name] = last.since(first)
        return service(self.plan, counts)
