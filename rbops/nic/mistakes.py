"""Steering in hardware that a spec requires, and that a data plane or a driver does not support."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbops.dataplane import registry
from rbops.errors import Diagnostic
from rbops.nic.drivers import driver
from rbops.plan import Server
from rbops.spec.document import Spec

__all__ = ["nic_mistakes"]


def nic_mistakes(spec: Spec, servers: Iterable[Server]) -> Iterator[Diagnostic]:
    """An error at the key that requires it, once for each driver."""
    reported: set[str] = set()
    for server in servers:
        host = spec.hosts.get(server.name)
        own = host is not None and host.nic.steering is not None
        path: tuple[str | int, ...] = ("hosts", server.name, "nic", "steering") if own else ("nic", "steering")
        asked = {setup.driver: setup for setup in server.nics if not setup.steering_fallback}
        for port in server.ports if asked else ():
            setup = asked.get(port.driver)
            if port.kind != "internal" or setup is None:
                continue
            message, code = registry.controller(spec.dataplane).no_steering(spec), "nic.steering-dataplane"
            if message is None and driver(port.driver).mac_rules == "none":
                code = "nic.steering-driver"
                message = f"driver {port.driver} ({server.name}, port {port.name}) has no rules by destination MAC"
            key = f"{path} {port.driver}"
            if message and key not in reported:
                reported.add(key)
                yield spec.source.mistake(path, message, "auto: the data plane dispatches in software", code=code)
