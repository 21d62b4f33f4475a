"""How a port's device is set, as node.json says it beside the plan's own values."""

from __future__ import annotations

from rbops.node.schema import Rule, Userspace
from rbops.plan import Port, Server

__all__ = ["rules", "spread", "userspace"]


def rules(server: Server) -> dict[str, tuple[Rule, ...]]:
    """The MACs with queues of their own, by port."""
    found: dict[str, list[Rule]] = {}
    for rule in server.steering:
        found.setdefault(rule.port, []).append(Rule(rule.mac, rule.queue))
    return {port: tuple(own) for port, own in found.items()}


def spread(port: Port, server: Server) -> int | None:
    """Over how many queues frames are spread: one a core, where transmit rings by CPU id make more; None: one queue."""
    if port.driver == "veth" or len(port.queues) == 1:
        return None
    cores = len({queue.rx_core for queue in port.queues})
    return min(cores, server.nic(port.driver).rss_queues or cores)


def userspace(server: Server) -> Userspace:
    """What a server with userspace drivers needs; nothing for others."""
    needs = server.userspace
    if needs is None:
        return Userspace()
    return Userspace({needs.hugepage_kb: needs.hugepages}, needs.unsafe_noiommu)
