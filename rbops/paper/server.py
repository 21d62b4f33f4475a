"""The paper's single server (sections 4 and 5): its parts, both rules, batching, applications, next generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rbops import hardware
from rbops.affinity.cores import PIPELINE_LOSS, SHARED_QUEUE_LOSS
from rbops.hardware.costs import DESCRIPTORS_PER_TRANSACTION
from rbops.hardware.model import Component, Machine
from rbops.hardware.pcie import slot_bps
from rbops.hardware.scaling import next_generation
from rbops.paper.entry import GBPS, Entry
from rbops.predict.bottleneck import ServerRate, server_rate
from rbops.predict.packets import mix

__all__ = ["application_rate", "entries"]


def entries() -> Iterator[Entry]:
    """The numbers of sections 4 and 5."""
    nehalem = hardware.profile("nehalem")
    yield from _parts(nehalem)
    yield from _rules(nehalem)
    yield from _batching(nehalem)
    yield from _loads(nehalem)
    yield from _applications(nehalem)
    yield from _next(nehalem)


def application_rate(machine: Machine, app: str, packets: str | int, *, nic: int | None = 24_600_000_000) -> ServerRate:
    """The rate of one server as the paper measured it: all cores, (kp, kn) = (32, 16), NICs that carry ``nic`` bps."""
    return server_rate(machine, app, mix(packets), poll=32, nic=16, cores=len(machine.cores), nic_bps=nic)


def _parts(nehalem: Machine) -> Iterator[Entry]:
    where = "4.1"
    yield Entry("sockets", where, "exact", 2, nehalem.sockets, 0.0, "sockets")
    yield Entry("cores per socket", where, "exact", 4, len(nehalem.cores) / nehalem.sockets, 0.0, "cores")
    yield Entry("clock", where, "exact", 2.8e9, nehalem.clock_hz, 0.0, "Hz")
    yield Entry("L3 cache per socket", where, "exact", 8 * 1024 * 1024, None, None, "bytes")
    card = nehalem.slots[0].options[0]
    yield Entry("slots", where, "exact", 2, len(nehalem.slots), 0.0, "slots")
    yield Entry("ports per NIC", where, "exact", 2, card.ports, 0.0, "ports")
    yield Entry("rate of a port", where, "exact", 10e9, card.port_rate_bps, 0.0, "bps")
    yield Entry("rate of a NIC", where, "exact", 12.3e9, card.rate_bps, 0.0, "bps")
    most = sum(slot.options[0].rate_bps for slot in nehalem.slots)
    yield Entry("most input traffic", where, "exact", 24.6e9, most, 0.0, "bps")
    parts = nehalem.components
    for name, part, nominal, empirical in (
        ("memory", parts.memory, 410e9, 262e9),
        ("inter-socket link", parts.inter_socket, 200e9, 144.34e9),
        ("I/O-socket links", parts.io, 400e9, 117e9),
        ("PCIe buses", parts.pcie, 64e9, 50.8e9),
    ):
        known = part or Component(None, None, None)
        yield Entry(f"{name}, nominal", "5.3, Table 2", "exact", nominal, known.nominal_bps, 0.0, "bps")
        yield Entry(f"{name}, benchmark", "5.3, Table 2", "measured", empirical, known.empirical_bps, 0.0, "bps")
    lanes = 2 * len(nehalem.slots) * slot_bps(1, 8)
    yield Entry("PCIe buses, from 8 lanes of PCIe 1.1 each", "4.1", "exact", 64e9, lanes, 0.0, "bps")
    yield Entry("power of a server", "8", "exact", 650, nehalem.power_w, 0.0, "W")
    yield Entry("price of a server", "8", "exact", 3625, nehalem.price_usd, 0.0, "USD")


def _rules(nehalem: Machine) -> Iterator[Entry]:
    where = "4.2, Fig. 6"
    yield Entry("overlapping paths on one queue lose", where, "exact", 1 - 0.7 / 1.7, SHARED_QUEUE_LOSS, 0.001, "part")
    yield Entry("pipelining across L3 caches loses", where, "exact", 0.64, PIPELINE_LOSS, 0.02, "part")
    toy = 1.7e9
    for name, paper, value, unit in (
        ("pipelining within an L3 cache loses", 0.29, None, "part"),
        ("toy forwarding path, one core", toy, None, "bps"),
        ("toy path, pipelined within an L3 cache", 1.2e9, None, "bps"),
        ("toy path, pipelined across L3 caches", 0.6e9, toy * (1 - PIPELINE_LOSS), "bps"),
        ("toy paths that overlap, one queue", 0.7e9, toy * (1 - SHARED_QUEUE_LOSS), "bps"),
        ("toy paths that overlap, many queues", toy, None, "bps"),
        ("split stream, many queues over one", 3.0, None, "x"),
    ):
        yield Entry(name, where, "measured", paper, value, None if value is None else 0.001, unit)
    four = server_rate(nehalem, "forward", mix(64), poll=32, nic=16, cores=4, nic_bps=None).rate_bps
    yield Entry("forward, 64 B, four cores of either socket", "4.2", "measured", 6.3e9, four, None, "bps")
    remote = nehalem.loads.inter_socket.of(64) / nehalem.loads.memory.of(64)
    yield Entry("memory accesses to the other socket", "4.2", "measured", 0.23, remote, 0.001, "part")


def _batching(nehalem: Machine) -> Iterator[Entry]:
    clock = len(nehalem.cores) * nehalem.clock_hz
    rates: dict[tuple[int, int], float] = {}
    for kp, kn, paper in ((1, 1, 1.46e9), (32, 1, 4.97e9), (32, 16, 9.77e9)):
        rates[kp, kn] = mix(64).bps(clock / nehalem.batching.cycles(kp, kn))
        yield Entry(f"batching, kp {kp}, kn {kn}", "4.2, Table 1", "measured", paper, rates[kp, kn], 0.02, "bps")
    yield Entry(
        "largest kn, 256 bytes of PCIe payload",
        "4.2, Table 1",
        "exact",
        16,
        DESCRIPTORS_PER_TRANSACTION,
        0.0,
        "packets",
    )
    gain = rates[32, 16] / rates[1, 1]
    yield Entry("gain over the unmodified server", "4.2, Fig. 7", "measured", 6.7, gain, 0.02, "x")
    yield Entry("gain over a shared-bus Xeon server", "4.2, Fig. 7", "measured", 11, None, None, "x")


def _loads(nehalem: Machine) -> Iterator[Entry]:
    small, large = 64, 1024
    loads = nehalem.loads
    for name, paper, load in (("memory", 6, loads.memory), ("I/O", 11, loads.io)):
        yield Entry(
            f"{name} load, 1024 B over 64 B", "5.3", "exact", paper, load.of(large) / load.of(small), 0.001, "x"
        )
    cost = nehalem.cost("forward")
    growth = (cost.cycles + cost.cycles_per_byte * (large - small)) / cost.cycles
    yield Entry("CPU load, 1024 B over 64 B", "5.3", "exact", 1.6, growth, 0.001, "x")


def _applications(nehalem: Machine) -> Iterator[Entry]:
    clock = len(nehalem.cores) * nehalem.clock_hz
    for app, paper, instructions, per_instruction in (
        ("forward", 9.7e9, 1033, 1.19),
        ("route", 6.35e9, 1512, 1.23),
        ("ipsec", 1.4e9, 14221, 0.55),
    ):
        cost = nehalem.cost(app)
        table = mix(64).bps(clock / (cost.instructions * cost.cycles_per_instruction))
        where = "5.3, Table 3"
        yield Entry(f"{app}, instructions per packet", where, "measured", instructions, cost.instructions, 0.0, "")
        yield Entry(
            f"{app}, cycles per instruction", where, "measured", per_instruction, cost.cycles_per_instruction, 0.0, ""
        )
        yield Entry(f"{app}, 64 B, from Table 3", "5.2, Table 3", "measured", paper, table, 0.06, "bps")
        rate = application_rate(nehalem, app, 64)
        yield Entry(f"{app}, 64 B", "5.2, Fig. 8", "measured", paper, rate.rate_bps, 0.06, "bps")
        if app == "forward":
            yield Entry("forward, 64 B, packets", "5.2, Fig. 8", "measured", 18.96e6, rate.rate_pps, 0.06, "pps")
    yield Entry("route, entries in the table", "5.1", "exact", 262144, None, None, "routes")
    for app, paper in (("forward", 24.6e9), ("route", 24.6e9), ("ipsec", 4.45e9)):
        bps = application_rate(nehalem, app, "abilene").rate_bps
        yield Entry(f"{app}, Abilene", "5.2, Fig. 8", "measured", paper, bps, 0.02, "bps")


def _next(nehalem: Machine) -> Iterator[Entry]:
    later = next_generation(nehalem)
    for app, paper, tolerance in (("forward", 38.8e9, 0.02), ("ipsec", 5.8e9, 0.05)):
        rate = application_rate(later, app, 64, nic=None).rate_bps
        yield Entry(f"next generation, {app}, 64 B", "5.3", "model", paper, rate, tolerance, "bps")
    route = application_rate(later, "route", 64, nic=None).rate_bps
    yield Entry("next generation, route, 64 B", "5.3", "disputed", 19.9 * GBPS, route, None, "bps")
    unlimited = replace(nehalem, components=replace(nehalem.components, pcie=None))
    rate = application_rate(unlimited, "forward", "abilene", nic=None).rate_bps
    yield Entry("forward, Abilene, unlimited NICs", "5.3", "model", 70e9, rate, 0.1, "bps")
