"""Both rules of paper 4.2, checked on a finished plan without knowing how it was made.

Rule 1: a queue is touched by one core. Rule 2: a packet is touched by one core, so the core that
polls a packet from a receive queue of any port must own a transmit queue of every port.
"""

from __future__ import annotations

from collections.abc import Iterator

from rbops.affinity.cores import PIPELINE_LOSS
from rbops.dataplane import registry
from rbops.nic.drivers import driver
from rbops.plan import ClusterPlan, Port, Server, Violation

__all__ = ["check", "check_server"]


def check(plan: ClusterPlan) -> tuple[Violation, ...]:
    """Every breach of either rule in ``plan``; empty when both hold everywhere."""
    good: set[tuple[object, ...]] = set()
    found: list[Violation] = []
    rings_by_cpu = registry.controller(plan.forwarding.dataplane).rings_by_cpu
    for server in plan.servers:
        # Ports with the same queues have one value for them: by identity, since hashing thousands of them takes long.
        shape = (server.cores, tuple((port.driver, id(port.queues)) for port in server.ports))
        if shape in good:
            continue
        own = tuple(check_server(server, rings_by_cpu=rings_by_cpu))
        if not own:
            good.add(shape)
        found += own
    return tuple(found)


def check_server(server: Server, *, rings_by_cpu: bool = False) -> Iterator[Violation]:
    """The breaches on one server; with ``rings_by_cpu`` a core's transmit ring may not be the planner's to choose."""
    cores = set(server.cores.dataplane)
    both = cores & set(server.cores.housekeeping)
    if both:
        yield Violation("rule2", server.name, f"CPUs {sorted(both)} are both for packets and for housekeeping", 0.0)
    if len(cores) != len(server.cores.dataplane):
        yield Violation("rule2", server.name, "a CPU is listed twice in the data plane", 0.0)
    for port in server.ports:
        yield from _queues(server.name, port, cores)
        if rings_by_cpu and driver(port.driver).xdp_ring_by_cpu:
            yield from _rings(server.name, port, cores)
        if rings_by_cpu and driver(port.driver).xdp_ring_wraps:
            yield from _wrapping(server.name, port, cores)
    yield from _paths(server)


def _queues(server: str, port: Port, cores: set[int]) -> Iterator[Violation]:
    indexes = [queue.index for queue in port.queues]
    if indexes != list(range(len(indexes))) or not indexes:
        yield Violation("rule1", server, f"{port.name}: queues are numbered {indexes}, some core's twice or none", 0.0)
    strangers = {core for queue in port.queues for core in (queue.rx_core, queue.tx_core)} - cores
    if strangers:
        yield Violation(
            "rule1", server, f"{port.name}: CPUs {sorted(strangers)} own queues but are not in the data plane", 0.0
        )


def _rings(server: str, port: Port, cores: set[int]) -> Iterator[Violation]:
    """XDP redirect from CPU c takes transmit ring c: there must be one, and it must be that CPU's."""
    missing = sorted(cpu for cpu in cores if cpu >= len(port.queues))
    if missing:
        detail = f"{port.name}: XDP redirect fails on CPUs {missing}, for there are {len(port.queues)} transmit rings"
        yield Violation("rule1", server, detail, 1.0)
    others = sorted(queue.index for queue in port.queues if queue.index in cores and queue.tx_core != queue.index)
    if others:
        yield Violation("rule1", server, f"{port.name}: CPUs {others} use transmit rings that others own", 0.0)


def _wrapping(server: str, port: Port, cores: set[int]) -> Iterator[Violation]:
    """XDP redirect from CPU c takes transmit ring c modulo rings: it must be that CPU's alone."""
    owners = {queue.index: queue.tx_core for queue in port.queues}
    wrong = sorted(cpu for cpu in cores if owners and owners.get(cpu % len(owners)) != cpu)
    if wrong:
        yield Violation("rule1", server, f"{port.name}: CPUs {wrong} use transmit rings that others own", 0.0)


def _paths(server: Server) -> Iterator[Violation]:
    """Packets go from every port to every other; of ports alike in their queues only the first is looked at."""
    alike: dict[int, Port] = {}
    for port in server.ports:
        alike.setdefault(id(port.queues), port)
    senders = {port.name: {queue.tx_core for queue in port.queues} for port in alike.values()}
    for port in alike.values():
        receivers = {queue.rx_core for queue in port.queues}
        for name, owners in senders.items():
            missing = receivers - owners
            if missing:
                detail = f"{port.name} to {name}: CPUs {sorted(missing)} receive but own no transmit queue there"
                yield Violation("rule2", server.name, detail, round(PIPELINE_LOSS, 3))
