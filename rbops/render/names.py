"""Names that become paths, interface names, unit text and inventory keys: checked once more before they do."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface

from rbops.errors import UsageError, Where
from rbops.plan import ClusterPlan, Port

__all__ = ["check_names"]

_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PORT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")
_CLUSTER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_+.-]+)+")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_PCI = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")


def check_names(plan: ClusterPlan) -> None:
    """UsageError (2) for a name that could be more than a name: a path, a template, an option, a second line."""
    _check(_CLUSTER, plan.name, "router name")
    if plan.forwarding.click_prefix is not None:
        _check(_PREFIX, plan.forwarding.click_prefix, "click.prefix")
    for server in plan.servers:
        _check(_SERVER, server.name, "server name")
        for port in server.ports:
            where = f"{server.name}: port"
            _check(_PORT, port.name, where)
            _check_addresses(port, f"{where} {port.name}")
            selector = port.selector
            for pattern, value, what in (
                (_DEVICE, selector.name, "device name"),
                (_PCI, selector.pci, "PCI address"),
                (_MAC, selector.mac, "MAC"),
            ):
                if value is not None:
                    _check(pattern, value, f"{where} {port.name}: {what}")


def _check_addresses(port: Port, where: str) -> None:
    for near in port.adjacencies:
        if near.mac is not None:
            _check(_MAC, near.mac, f"{where}: neighbour {near.index}: MAC")
    for text, kind in (
        *((a, IPv4Interface) for a in port.addresses),
        *((n.address, IPv4Address) for n in port.adjacencies),
    ):
        try:
            same = str(kind(text)) == text
        except ValueError:
            same = False
        if not same:
            raise UsageError(
                f"{text!r} is not a valid address",
                hint="for example 198.18.0.1/24",
                code="render.address",
                where=Where(field=str(where)),
            )


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(f"{value!r} is not a valid {what}", hint="letters, digits and hyphens", code="render.name")
