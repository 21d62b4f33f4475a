"""The paper's numbers beside rbops's own, computed now: what the README's table and the tests are made of.

``exact`` follows from arithmetic that the paper states, ``model`` from Table 2 and 3 style inputs,
``measured`` is an experiment on hardware of 2009 (a tolerance where the model claims to meet it),
``disputed`` does not follow from the paper's own constraints (``rbops.predict.reference``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rbops import hardware
from rbops.affinity.cores import SHARED_QUEUE_LOSS
from rbops.affinity.rules import PIPELINE_LOSS
from rbops.affinity.steering import STEERED_PORTS
from rbops.hardware.model import Machine
from rbops.hardware.scaling import next_generation
from rbops.predict.bottleneck import ServerRate, server_rate
from rbops.predict.cluster import Bounds, Setting, bounds, cluster_rate
from rbops.predict.latency import cluster_latency, server_latency_s
from rbops.predict.packets import mix
from rbops.predict.scale import configuration, curve, mesh_limit, switched

__all__ = ["Entry", "entries"]

Kind = Literal["exact", "model", "measured", "disputed"]

_R = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One number; ``tolerance`` is relative, None where nothing is claimed."""

    name: str
    section: str
    kind: Kind
    paper: float
    rbops: float
    tolerance: float | None
    unit: str


def entries() -> tuple[Entry, ...]:
    """Every number of the paper that rbops computes, in the paper's order."""
    nehalem = hardware.profile("nehalem")
    return (
        *_scaling(),
        *_rules(nehalem),
        *_batching(nehalem),
        *_single_server(nehalem),
        *_next(nehalem),
        *_rb4(nehalem),
        *_latencies(nehalem),
    )


def _rate(machine: Machine, app: str, packets: str | int, *, nic: int | None = 24_600_000_000) -> ServerRate:
    return server_rate(machine, app, mix(packets), poll=32, nic=16, cores=len(machine.cores), nic_bps=nic)


def _scaling() -> Iterator[Entry]:
    for name, paper in (("current", 32), ("more_nics", 128)):
        limit = mesh_limit(hardware.profile(name), _R)
        yield Entry(f"mesh limit, {name}", "3.3", "exact", paper, _power(limit), 0.0, "ports")
    faster = _power(mesh_limit(hardware.profile("faster"), _R))
    yield Entry("mesh limit, faster", "3.3", "disputed", 2048, faster, None, "ports")
    point = curve(configuration(hardware.profile("current")), (1024,))[0]
    yield Entry(
        "intermediate servers per port, 1,024 ports",
        "3.3",
        "exact",
        2,
        point.intermediate_servers / 1024,
        0.0,
        "servers",
    )
    mesh = curve(configuration(hardware.profile("current")), (32,))[0]
    yield Entry("internal link, 32-port mesh", "3.2", "exact", 2 * _R / 32, mesh.internal_link_bps, 0.0, "bps")
    two = curve(configuration(hardware.profile("faster")), (32,))[0]
    yield Entry(
        "internal link, 2 ports a server, 32 ports", "3.3", "disputed", 4 * _R / 32, two.internal_link_bps, None, "bps"
    )
    single = switched((48,))[0]
    yield Entry("switched cluster of 48 ports", "3.3", "exact", 48 + 48 / 4, single.server_equivalents, 0.0, "servers")


def _power(limit: int) -> int:
    return 1 << (limit.bit_length() - 1)


def _rules(nehalem: Machine) -> Iterator[Entry]:
    yield Entry(
        "overlapping paths on one queue lose", "4.2, Fig. 6", "exact", 1 - 0.7 / 1.7, SHARED_QUEUE_LOSS, 0.001, "part"
    )
    yield Entry("pipelining across L3 caches loses", "4.2, Fig. 6", "exact", 0.64, PIPELINE_LOSS, 0.02, "part")
    small, large = 64, 1024
    loads = nehalem.loads
    yield Entry(
        "memory load, 1024 B over 64 B", "5.3", "exact", 6, loads.memory.of(large) / loads.memory.of(small), 0.001, "x"
    )
    yield Entry("I/O load, 1024 B over 64 B", "5.3", "exact", 11, loads.io.of(large) / loads.io.of(small), 0.001, "x")
    cost = nehalem.cost("forward")
    growth = (cost.cycles + cost.cycles_per_byte * (large - small)) / cost.cycles
    yield Entry("CPU load, 1024 B over 64 B", "5.3", "exact", 1.6, growth, 0.001, "x")


def _batching(nehalem: Machine) -> Iterator[Entry]:
    clock = len(nehalem.cores) * nehalem.clock_hz
    rates: dict[tuple[int, int], float] = {}
    for kp, kn, paper in ((1, 1, 1.46e9), (32, 1, 4.97e9), (32, 16, 9.77e9)):
        rates[kp, kn] = mix(64).bps(clock / nehalem.batching.cycles(kp, kn))
        yield Entry(f"batching, kp {kp}, kn {kn}", "4.2, Table 1", "measured", paper, rates[kp, kn], 0.02, "bps")
    gain = rates[32, 16] / rates[1, 1]
    yield Entry("gain over the unmodified server", "4.2, Fig. 7", "measured", 6.7, gain, 0.02, "x")


def _single_server(nehalem: Machine) -> Iterator[Entry]:
    clock = len(nehalem.cores) * nehalem.clock_hz
    for app, paper in (("forward", 9.7e9), ("route", 6.35e9), ("ipsec", 1.4e9)):
        cost = nehalem.cost(app)
        table = mix(64).bps(clock / (cost.instructions * cost.cycles_per_instruction))
        yield Entry(f"{app}, 64 B, from Table 3", "5.2, Table 3", "measured", paper, table, 0.06, "bps")
        yield Entry(f"{app}, 64 B", "5.2, Fig. 8", "measured", paper, _rate(nehalem, app, 64).rate_bps, 0.06, "bps")
    four = server_rate(nehalem, "forward", mix(64), poll=32, nic=16, cores=4, nic_bps=None).rate_bps
    yield Entry("forward, 64 B, four cores of either socket", "4.2", "measured", 6.3e9, four, None, "bps")
    for app, paper in (("forward", 24.6e9), ("route", 24.6e9), ("ipsec", 4.45e9)):
        rate = _rate(nehalem, app, "abilene").rate_bps
        yield Entry(f"{app}, Abilene", "5.2, Fig. 8", "measured", paper, rate, 0.02, "bps")


def _next(nehalem: Machine) -> Iterator[Entry]:
    later = next_generation(nehalem)
    for app, paper, tolerance in (("forward", 38.8e9, 0.02), ("ipsec", 5.8e9, 0.05)):
        rate = _rate(later, app, 64, nic=None).rate_bps
        yield Entry(f"next generation, {app}, 64 B", "5.3", "model", paper, rate, tolerance, "bps")
    route = _rate(later, "route", 64, nic=None).rate_bps
    yield Entry("next generation, route, 64 B", "5.3", "disputed", 19.9e9, route, None, "bps")
    unlimited = replace(nehalem, components=replace(nehalem.components, pcie=None))
    rate = _rate(unlimited, "forward", "abilene", nic=None).rate_bps
    yield Entry("forward, Abilene, unlimited NICs", "5.3", "model", 70e9, rate, 0.1, "bps")


def _rb4(nehalem: Machine) -> Iterator[Entry]:
    setting = Setting(4, _R, 4, 1, _R, _R // 4, worst_case=True, direct=True)
    yield Entry("direct quota, 4 servers", "3.2", "exact", _R / 4, setting.quota_bps, 0.0, "bps")
    for packets, name, paper, expected in (
        (64, "64 B", 12.0e9, (12.7e9, 19.4e9)),
        ("abilene", "Abilene", 35.0e9, (33.0e9, 49.0e9)),
    ):
        app, forward = _rate(nehalem, "route", packets), _rate(nehalem, "forward", packets)
        span: Bounds = bounds(setting, app, forward)
        yield Entry(f"RB4, {name}, expected at least", "6.2", "exact", expected[0], span.low_bps, 0.01, "bps")
        yield Entry(f"RB4, {name}, expected at most", "6.2", "exact", expected[1], span.high_bps, 0.01, "bps")
        rate = cluster_rate(setting, app, forward).rate_bps
        yield Entry(f"RB4, {name}", "6.2", "measured", paper, rate, None, "bps")
    power, price = nehalem.power_w or 0.0, nehalem.price_usd or 0.0
    yield Entry("RB4 power", "6.2", "exact", 2600, 4 * power, 0.0, "W")
    yield Entry("RB4 price", "6.2", "exact", 14500, 4 * price, 0.0, "USD")
    yield Entry("external ports with queues of their own", "6.1", "exact", 64, STEERED_PORTS, 0.0, "ports")


def _latencies(nehalem: Machine) -> Iterator[Entry]:
    one = server_latency_s(nehalem, "route", 16, 1.0)
    yield Entry("latency per server", "6.2", "exact", 24.0e-6, one, 0.01, "s")
    yield Entry("latency, two servers", "6.2", "exact", 47.6e-6, cluster_latency(one, 0).direct, 0.01, "s")
    yield Entry("latency, three servers", "6.2", "disputed", 66.4e-6, cluster_latency(one, 0).indirect, None, "s")
    yield Entry("latency, 1,024 ports", "3.3", "exact", 96.0e-6, cluster_latency(one, 2).direct, 0.01, "s")
