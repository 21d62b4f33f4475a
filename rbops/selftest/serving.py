"""Which core served which queue in a phase: the plan (paper 4.2) compared with counts under load.

Read with ``rbops-node counters --queues`` before and after. A device with vectors of its own shows it by their
interrupts; on all devices, also on veth that has none, the data plane shows it by its counters of each core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rbops.plan import ClusterPlan, Port, Queue
from rbops.selftest.result import Fault, PortService, QueueService

__all__ = ["QueueCounts", "affinity_faults", "parse_queue_counts", "service"]

_SLACK_PACKETS, _SLACK_INTERRUPTS, _SLACK_PART = 64, 4, 100
"""Tolerance for other traffic and for the first interrupt after a vector was moved: so many, or a hundredth."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """One server's counts since its devices were made.

    ``interrupts`` by (port, queue) of the vectors that receive, then by CPU; ``packets`` by (port, queue), None for
    a driver that does not count by queue; ``cores`` by port, then by CPU, None where the data plane does not count so.
    ``probes`` by port: what neighbours' probes and their answers came to, which no core counts as received.
    """

    interrupts: Mapping[tuple[str, int], Mapping[int, int]] = field(default_factory=dict)
    packets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    cores: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    probes: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: QueueCounts) -> QueueCounts:
        """The counts since ``before``; a counter that was reset since counts from its reset."""
        return QueueCounts(
            {key: _less(before.interrupts.get(key, {}), now) for key, now in self.interrupts.items()},
            {port: _less(before.packets.get(port, {}), now) for port, now in self.packets.items()},
            {port: _less(before.cores.get(port, {}), now) for port, now in self.cores.items()},
            _less(before.probes, self.probes),
        )


_Key = TypeVar("_Key")


def _less(before: Mapping[_Key, int], after: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: count - old if (old := before.get(key, 0)) <= count else count for key, count in after.items()}


def parse_queue_counts(raw: Mapping[str, Any]) -> QueueCounts | None:
    """One server's JSON as values; None when it gave no counters, or none by queue."""
    if "error" in raw or "queues" not in raw:
        return None
    ports = raw["queues"]["ports"]
    interrupts: dict[tuple[str, int], dict[int, int]] = {}
    for name, port in ports.items():
        for vector in port["irqs"]:
            if vector["way"] != "tx":
                into = interrupts.setdefault((name, vector["queue"]), {})
                for cpu, count in vector["cpus"].items():
                    into[int(cpu)] = into.get(int(cpu), 0) + count
    served = raw.get("served", {}).items()
    cores = {name: {int(cpu): count for cpu, count in port.items()} for name, port in served}
    packets = {name: {int(queue): count for queue, count in port["packets"].items()} for name, port in ports.items()}
    probes = {name: port["asked"] + port["answered"] for name, port in raw.get("probes", {}).items()}
    return QueueCounts(interrupts, packets, cores, probes)


def service(plan: ClusterPlan, phase: Mapping[str, QueueCounts]) -> tuple[PortService, ...]:
    """Every port of the servers that gave counts, each queue checked; ports without packets too."""
    return tuple(
        _port(server.name, port, phase[server.name])
        for server in plan.servers
        if server.name in phase
        for port in server.ports
        if port.name in phase[server.name].packets
    )


def _port(server: str, port: Port, served: QueueCounts) -> PortService:
    by_queue, by_core = served.packets[port.name], served.cores.get(port.name, {})
    queues = [
        QueueService(
            server,
            port.name,
            queue.index,
            queue.rx_core,
            by_queue.get(queue.index),
            tuple(sorted((cpu, n) for cpu, n in served.interrupts.get((port.name, queue.index), {}).items() if n)),
        )
        for queue in port.queues
    ]
    moved = _moved(port.queues, by_queue, by_core, served.probes.get(port.name, 0))
    checked = (replace(queue, wrong=_strayed(queue) or moved.get(queue.queue)) for queue in queues)
    return PortService(server, port.name, tuple(checked), tuple(sorted((cpu, n) for cpu, n in by_core.items() if n)))


def _strayed(queue: QueueService) -> str | None:
    """Interrupts of the queue on other CPUs."""
    total = sum(count for _, count in queue.interrupts)
    away = [(cpu, count) for cpu, count in queue.interrupts if cpu != queue.core]
    if sum(count for _, count in away) <= max(_SLACK_INTERRUPTS, total // _SLACK_PART):
        return None
    listed = ", ".join(f"{count:,} on CPU {cpu}" for cpu, count in away)
    return f"{sum(count for _, count in away):,} of its {total:,} interrupts were not on core {queue.core}: {listed}"


def _moved(
    queues: tuple[Queue, ...], by_queue: Mapping[int, int], by_core: Mapping[int, int], probes: int
) -> dict[int, str]:
    """Queue -> why, where the data plane handled fewer packets on the queues' core than the queues received.

    Which queue the ``probes`` came by is not known.
    """
    if not by_queue:
        return _strangers(queues, by_core)
    if not by_core:
        return {}
    slack = probes + max(_SLACK_PACKETS, sum(by_queue.values()) // _SLACK_PART)
    found: dict[int, str] = {}
    for core in sorted({queue.rx_core for queue in queues}):
        own = {queue.index: by_queue.get(queue.index, 0) for queue in queues if queue.rx_core == core}
        came, handled = sum(own.values()), by_core.get(core, 0)
        if came - handled > slack:
            others = _busier(queues, by_queue, by_core, slack)
            text = f"it received {came:,} packets and core {core} handled {handled:,}{others}"
            found[max(own, key=lambda index: own[index])] = text
    return found


def _strangers(queues: tuple[Queue, ...], by_core: Mapping[int, int]) -> dict[int, str]:
    """Without counts by queue: packets on CPUs that own none, reported for the first queue."""
    slack = max(_SLACK_PACKETS, sum(by_core.values()) // _SLACK_PART)
    owners = {queue.rx_core for queue in queues}
    away = {cpu: count for cpu, count in sorted(by_core.items()) if cpu not in owners and count > slack}
    listed = ", ".join(f"CPU {cpu} {count:,}" for cpu, count in away.items())
    return {queues[0].index: f"CPUs that own no queue of the port handled packets: {listed}"} if away else {}


def _busier(queues: tuple[Queue, ...], by_queue: Mapping[int, int], by_core: Mapping[int, int], slack: int) -> str:
    """The CPUs that handled more than their own queues received."""
    received: dict[int, int] = {}
    for queue in queues:
        received[queue.rx_core] = received.get(queue.rx_core, 0) + by_queue.get(queue.index, 0)
    more = {cpu: count - received.get(cpu, 0) for cpu, count in sorted(by_core.items())}
    listed = ", ".join(f"CPU {cpu} {count:,}" for cpu, count in more.items() if count > slack)
    return f"; more than their own: {listed}" if listed else ""


def affinity_faults(ports: tuple[PortService, ...], phase: str) -> Iterator[Fault]:
    """One fault for each queue that was not served by its core, naming server, port, queue and core."""
    for port in ports:
        for queue in port.queues:
            if queue.wrong:
                text = f"{queue.server}:{queue.port} queue {queue.queue} (core {queue.core}): {queue.wrong}"
                yield Fault("affinity", text, phase, queue.packets or 0, server=queue.server)
