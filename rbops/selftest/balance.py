"""How evenly a phase's load lay on paths, servers and cores, beside what VLB predicts (paper 3.2, 5.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbops.dataplane import registry
from rbops.plan import ClusterPlan
from rbops.selftest.wire import FCS_BYTES

if TYPE_CHECKING:
    from rbops.selftest.counters import Readings, ServerCounters

__all__ = ["Balance", "CoreLoad", "PairShare", "ServerLoad", "balance", "jain"]

_BITS = 8
_NO_INTERMEDIATE = 2
_ALIKE = 0.1


@dataclass(frozen=True, slots=True)
class PairShare:
    """Packets from one server to another: the ``direct`` part, and the part over each other server, 0 to 1.

    ``predicted`` is the direct part by the quota and the rate that was measured; None where nothing is predicted.
    """

    source: str
    destination: str
    packets: int
    direct: float
    over: tuple[tuple[str, float], ...]
    predicted: float | None

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        return {
            "from": self.source,
            "to": self.destination,
            "packets": self.packets,
            "direct": round(self.direct, 6),
            "over": {via: round(part, 6) for via, part in self.over},
            "predicted_direct": None if self.predicted is None else round(self.predicted, 6),
        }


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """Packets that ``entered`` at a server's external ports and those that it ``handled``: these and from the fabric.

    ``predicted`` is what it would have handled with the predicted shares; None where nothing is predicted.
    """

    server: str
    entered: int
    handled: int
    predicted: float | None

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        predicted = None if self.predicted is None else round(self.predicted)
        ratio = round(self.handled / self.predicted, 6) if self.predicted else None
        values = {"server": self.server, "entered": self.entered, "handled": self.handled}
        return {**values, "predicted_handled": predicted, "ratio": ratio}


@dataclass(frozen=True, slots=True)
class CoreLoad:
    """Packets that a core received from all ports.

    ``busy``: the part of the time, 0 to 1, in which it was not idle, ``softirq`` that in softirqs, where packets are
    handled and nothing is polled in vain (paper 5.3), by the kernel's account; None where it was not read.
    ``predicted``: the part that the plan's cycles per packet make of its packets; None where nothing is predicted.
    """

    server: str
    core: int
    packets: int
    busy: float | None = None
    softirq: float | None = None
    predicted: float | None = None

    @property
    def ratio(self) -> float | None:
        """Measured in softirqs over predicted."""
        return self.softirq / self.predicted if self.predicted and self.softirq is not None else None

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        parts = {"busy": self.busy, "softirq": self.softirq, "predicted_busy": self.predicted, "ratio": self.ratio}
        rounded = {name: None if part is None else round(part, 6) for name, part in parts.items()}
        return {"server": self.server, "core": self.core, "packets": self.packets, **rounded}


@dataclass(frozen=True, slots=True)
class Balance:
    """One phase, by the servers' counters."""

    pairs: tuple[PairShare, ...]
    servers: tuple[ServerLoad, ...]
    cores: tuple[CoreLoad, ...]

    @property
    def fairness(self) -> float | None:
        """Jain's index of what servers handled: 1 when all handled the same."""
        return jain([load.handled for load in self.servers])

    @property
    def core_fairness(self) -> float | None:
        """Jain's index of all data-plane cores."""
        return jain([load.packets for load in self.cores])

    @property
    def busiest_core(self) -> float | None:
        """The busiest core's packets over the mean core's."""
        total = sum(load.packets for load in self.cores)
        return max(load.packets for load in self.cores) * len(self.cores) / total if total else None

    @property
    def farthest(self) -> float | None:
        """The largest difference between a measured and a predicted direct part, in points of 0 to 1."""
        apart = [abs(pair.direct - pair.predicted) for pair in self.pairs if pair.predicted is not None]
        return max(apart, default=None)

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        figures = {
            "jain_servers": self.fairness,
            "jain_cores": self.core_fairness,
            "busiest_core_over_mean": self.busiest_core,
            "farthest_from_predicted": self.farthest,
        }
        return {
            "pairs": [pair.to_dict() for pair in self.pairs],
            "servers": [load.to_dict() for load in self.servers],
            "cores": [load.to_dict() for load in self.cores],
            **{name: None if value is None else round(value, 6) for name, value in figures.items()},
        }


def jain(values: Sequence[float]) -> float | None:
    """Jain's index: (sum x)^2 / (n sum x^2); None where all are 0 (R. Jain, D. Chiu, W. Hawe, DEC-TR-301)."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


def balance(plan: ClusterPlan, counted: Readings, size: float, seconds: float) -> Balance | None:
    """From the differences of counters of a phase that sent frames of ``size`` bytes on average for ``seconds``.

    None where nothing was counted. The prediction is a fluid's: of a pair's rate the part within the quota goes
    directly, the rest in equal parts over the others. It is made where all servers were read and their data plane
    balances; what servers handle for others only in a full mesh, for in a fly packets pass more of them.
    """
    readings = {server.name: counted[server.name] for server in plan.servers if server.name in counted}
    good = {name: one for name, one in readings.items() if not one.error}
    if not any(sum(one.received.values()) for one in good.values()) or seconds <= 0:
        return None
    names = {server.index: server.name for server in plan.servers}
    whole = len(good) == len(plan.servers)
    predicts = whole and registry.controller(plan.forwarding.dataplane).balances
    bits = (size - FCS_BYTES) * _BITS
    pairs = []
    for name, one in good.items():
        for to in sorted({target for target, _ in one.paths}):
            taken = {via: packets for (target, via), packets in one.paths.items() if target == to and packets}
            if total := sum(taken.values()):
                over = tuple((names[via], n / total) for via, n in sorted(_over(taken)))
                predicted = _direct(plan, total * bits / seconds) if predicts else None
                pairs.append(PairShare(name, names[to], total, taken.get(None, 0) / total, over, predicted))
    seconds_each = _seconds_a_packet(plan, size)
    cores = [_core(name, one, core, seconds_each) for name, one in good.items() for core in sorted(one.cores)]
    meshed = predicts and plan.topology.kind == "mesh"
    return Balance(tuple(pairs), tuple(_servers(good, pairs, predicts=meshed)), tuple(cores))


def _core(server: str, one: ServerCounters, core: int, seconds_each: float | None) -> CoreLoad:
    packets = one.cores[core]
    if core not in one.busy or one.elapsed_s <= 0:
        return CoreLoad(server, core, packets)
    busy, softirq = (part / one.elapsed_s for part in one.busy[core])
    predicted = None if seconds_each is None else packets * seconds_each / one.elapsed_s
    return CoreLoad(server, core, packets, busy, softirq, predicted)


def _seconds_a_packet(plan: ClusterPlan, size: float) -> float | None:
    """A core's time for a packet by the plan's CPU bound (paper 5.3), as if each were one that is looked up here.

    None where frames are not about as long as those that the plan is for, or servers differ in their cores.
    """
    numbers = {len(server.cores.dataplane) for server in plan.servers if server.role == "port"}
    bound, rate = plan.prediction.per_component.cpu, plan.prediction.rate_pps
    if len(numbers) != 1 or not bound or not rate:
        return None
    bits = plan.prediction.rate_bps / rate
    if abs(size * _BITS / bits - 1) > _ALIKE:
        return None
    return numbers.pop() * bits / bound


def _over(taken: Mapping[int | None, int]) -> list[tuple[int, int]]:
    return [(via, packets) for via, packets in taken.items() if via is not None]


def _direct(plan: ClusterPlan, rate_bps: float) -> float:
    """The direct part of a pair's traffic, as ``rbops.vlb.fluid.shares``, which needs numpy."""
    servers = plan.topology.port_servers
    if servers <= _NO_INTERMEDIATE:
        return 1.0
    if plan.forwarding.routing == "vlb":
        return 2 / servers
    return min(1.0, plan.forwarding.direct_quota_bps / rate_bps)


def _servers(counted: Mapping[str, ServerCounters], pairs: Sequence[PairShare], *, predicts: bool) -> list[ServerLoad]:
    """Who handled how much; of a pair every server in between handles an equal part of what does not go directly."""
    predicted = {name: float(one.received.get("external", 0)) for name, one in counted.items()}
    for pair in pairs:
        if pair.predicted is not None:
            between = [name for name in counted if name not in (pair.source, pair.destination)]
            predicted[pair.destination] += pair.packets
            for name in between:
                predicted[name] += pair.packets * (1 - pair.predicted) / len(between)
    return [
        ServerLoad(
            name, one.received.get("external", 0), sum(one.received.values()), predicted[name] if predicts else None
        )
        for name, one in counted.items()
    ]
