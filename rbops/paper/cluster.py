"""The paper's clusters (sections 3.3, 6 and 8): topologies, RB4's rate, latency, power, price and form factor."""

from __future__ import annotations

from collections.abc import Iterator

from rbops import hardware
from rbops.affinity.steering import STEERED_PORTS
from rbops.hardware.model import Machine
from rbops.paper import rb4
from rbops.paper.entry import Entry
from rbops.paper.server import application_rate
from rbops.predict.cluster import Bounds, Setting, bounds, cluster_rate
from rbops.predict.latency import cluster_latency, server_latency_s
from rbops.predict.scale import configuration, curve, mesh_limit, switched, switched_usd
from rbops.topology.choice import Demand, Limits, choose

__all__ = ["entries"]

_R = 10_000_000_000


def entries() -> Iterator[Entry]:
    """The numbers of sections 3.3, 6.1, 6.2 and 8."""
    nehalem = hardware.profile("nehalem")
    yield from _scaling()
    yield from _rb4(nehalem)
    yield from _latencies(nehalem)
    yield from _form_factor(nehalem)


def _scaling() -> Iterator[Entry]:
    for name, ports, nics in (("current", 1, 5), ("more_nics", 1, 20), ("faster", 2, 20)):
        machine = hardware.profile(name)
        yield Entry(f"external ports per server, {name}", "3.3", "exact", ports, machine.external_ports, 0.0, "ports")
        yield Entry(f"NICs, {name}", "3.3", "exact", nics, len(machine.slots), 0.0, "NICs")
    for name, paper in (("current", 32), ("more_nics", 128)):
        limit = mesh_limit(hardware.profile(name), _R)
        yield Entry(f"mesh limit, {name}", "3.3", "exact", paper, _power(limit), 0.0, "ports")
    faster = _power(mesh_limit(hardware.profile("faster"), _R))
    yield Entry("mesh limit, faster", "3.3", "disputed", 2048, faster, None, "ports")
    current = {point.ports: point for point in curve(configuration(hardware.profile("current")), (32, 1024))}
    each = current[1024].intermediate_servers / 1024
    yield Entry("intermediate servers per port, 1,024 ports", "3.3", "exact", 2, each, 0.0, "servers")
    link = current[32].internal_link_bps
    yield Entry("internal link, 32-port mesh", "3.2", "exact", 2 * _R / 32, link, 0.0, "bps")
    two = curve(configuration(hardware.profile("faster")), (32,))[0].internal_link_bps
    yield Entry("internal link, 2 ports a server, 32 ports", "3.3", "disputed", 4 * _R / 32, two, None, "bps")
    single = switched((48,))[0]
    yield Entry("switched cluster of 48 ports", "3.3", "exact", 48 + 48 / 4, single.server_equivalents, 0.0, "servers")
    yield Entry("price of these", "3.3", "exact", 48 * (2000 + 500), switched_usd(single), 0.0, "USD")


def _power(limit: int) -> int:
    return 1 << (limit.bit_length() - 1)


def _rb4(nehalem: Machine) -> Iterator[Entry]:
    available = application_rate(nehalem, "route", 64).rate_bps
    servers = choose(Demand(4, _R, 3, Limits(nehalem, available))).trial.servers
    yield Entry("RB4, servers", "6", "exact", 4, servers, 0.0, "servers")
    setting = Setting(4, _R, 4, 1, _R, _R // 4, worst_case=True, direct=True)
    yield Entry("direct quota, 4 servers", "3.2", "exact", _R / 4, setting.quota_bps, 0.0, "bps")
    for packets, name, paper, expected in (
        (64, "64 B", rb4.SMALLEST_BPS, (12.7e9, 19.4e9)),
        ("abilene", "Abilene", rb4.ABILENE_BPS, (33.0e9, 49.0e9)),
    ):
        app, forward = application_rate(nehalem, "route", packets), application_rate(nehalem, "forward", packets)
        span: Bounds = bounds(setting, app, forward)
        yield Entry(f"RB4, {name}, expected at least", "6.2", "exact", expected[0], span.low_bps, 0.01, "bps")
        yield Entry(f"RB4, {name}, expected at most", "6.2", "exact", expected[1], span.high_bps, 0.01, "bps")
        rate = cluster_rate(setting, app, forward).rate_bps
        yield Entry(f"RB4, {name}", "6.2", "measured", paper, rate, None, "bps")
    power, price = nehalem.power_w or 0.0, nehalem.price_usd or 0.0
    yield Entry("RB4 power", "8", "exact", 2600, 4 * power, 0.0, "W")
    yield Entry("RB4 price", "8", "exact", 14500, 4 * price, 0.0, "USD")
    yield Entry("external ports with queues of their own", "6.1", "exact", 64, STEERED_PORTS, 0.0, "ports")


def _latencies(nehalem: Machine) -> Iterator[Entry]:
    terms = nehalem.latency
    one = server_latency_s(nehalem, "route", 16, 1.0)
    yield Entry("DMA transfers per packet", "6.2", "exact", 4, terms.dma_transfers, 0.0, "transfers")
    yield Entry("a DMA transfer", "6.2", "exact", 2.56e-6, terms.dma_s, 0.0, "s")
    yield Entry("CPU time of a packet", "6.2", "exact", 0.8e-6, terms.cpu_s, 0.0, "s")
    wait = one - terms.dma_transfers * terms.dma_s - terms.cpu_s
    yield Entry("wait for a batch of 16", "6.2", "exact", 12.8e-6, wait, 1e-9, "s")
    yield Entry("latency per server", "6.2", "exact", 24.0e-6, one, 0.01, "s")
    yield Entry("latency, two servers", "6.2", "exact", rb4.LATENCY_S[0], cluster_latency(one, 0).direct, 0.01, "s")
    yield Entry(
        "latency, three servers", "6.2", "disputed", rb4.LATENCY_S[1], cluster_latency(one, 0).indirect, None, "s"
    )
    yield Entry("latency, 1,024 ports", "3.3", "exact", 96.0e-6, cluster_latency(one, 2).direct, 0.01, "s")


def _form_factor(nehalem: Machine) -> Iterator[Entry]:
    """Section 8: servers of one rack unit with the Ethernet controllers on the motherboard."""
    integrated = hardware.profile("integrated")
    yield Entry("RB4, rack units", "8", "exact", 4, 4 * nehalem.rack_units, 0.0, "U")
    for rate, paper in ((_R, 2), (_R // 10, 30)):
        count = sum(card.ports for slot in integrated.slots for card in slot.options if card.port_rate_bps == rate)
        yield Entry(f"motherboard ports of {rate // 10**9} Gbps", "8", "exact", paper, count, 0.0, "ports")
    more = (integrated.power_w or 0.0) - (nehalem.power_w or 0.0)
    yield Entry("power for them", "8", "exact", 48, more, 0.0, "W")
    servers = mesh_limit(integrated, _R)
    yield Entry("mesh of such servers", "8", "model", 30, servers, 0.1, "servers")
    yield Entry("capacity of that mesh", "8", "model", 300e9, servers * _R, 0.1, "bps")
    yield Entry("its rack units", "8", "model", 30, servers * integrated.rack_units, 0.1, "U")
