"""What a spec's ``nic:`` asks of devices whose drivers cannot give it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbops.affinity.drivers import driver
from rbops.errors import Diagnostic
from rbops.plan import Server
from rbops.spec.model import Spec

__all__ = ["nic_mistakes"]

_SOME_CARDS = frozenset({"igb"})
"""Drivers whose cards differ: the server says whether its own has rules by MAC (igb: i210 only)."""


def nic_mistakes(spec: Spec, servers: Iterable[Server]) -> Iterator[Diagnostic]:
    """Mistakes at the key that asks, each once."""
    told: set[str] = set()
    for server in servers:
        host = spec.host(server.name)
        own = host is not None and host.nic.steering is not None
        path: tuple[str | int, ...] = ("hosts", server.name, "nic", "steering") if own else ("nic", "steering")
        for port in server.ports:
            setup = server.nic(port.driver)
            wanted = port.kind == "internal" and setup.steering == "hardware" and not setup.steering_fallback
            if not wanted or driver(port.driver).mac_rules or port.driver in _SOME_CARDS:
                continue
            key = f"{path} {port.driver}"
            if key not in told:
                told.add(key)
                message = f"driver {port.driver} ({server.name}, port {port.name}) has no rules by destination MAC"
                yield spec.source.mistake(path, message, "auto: the data plane dispatches in software then")
