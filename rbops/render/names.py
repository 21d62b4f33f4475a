"""Names that become paths, interface names, unit text and inventory keys: checked once more before they do."""

from __future__ import annotations

import re

from rbops.errors import UsageError
from rbops.plan import ClusterPlan

__all__ = ["check_names"]

_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PORT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")
_CLUSTER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_PCI = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")


def check_names(plan: ClusterPlan) -> None:
    """UsageError (2) for a name that could be more than a name: a path, a template, an option, a second line."""
    _check(_CLUSTER, plan.name, "router name")
    for server in plan.servers:
        _check(_SERVER, server.name, "server name")
        for port in server.ports:
            where = f"{server.name}: port"
            _check(_PORT, port.name, where)
            selector = port.selector
            for pattern, value, what in (
                (_DEVICE, selector.name, "device name"),
                (_PCI, selector.pci, "PCI address"),
                (_MAC, selector.mac, "MAC"),
            ):
                if value is not None:
                    _check(pattern, value, f"{where} {port.name}: {what}")


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(f"{what} {value!r} is not allowed", hint="letters, digits and hyphens")
