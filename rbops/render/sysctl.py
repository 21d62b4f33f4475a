"""The kernel parameters of a server: a router's slow path, and quiet data ports."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rbops.common.sysctls import ipv6_sysctls, router_sysctls
from rbops.plan import Server

__all__ = ["sysctl"]

_PORT = re.compile(r"ext[0-9]+|int[0-9]+(?:p[0-9]+)?")


def sysctl(server: Server, dataplane: Mapping[str, str] = {}, *, ipv6: bool = False) -> dict[str, str]:
    """Key -> value; the part of a key that is a planned port means the device it is on the server.

    ``dataplane`` is what the data plane wants besides. The spec's own come last, those of other servers' ports
    left out. ``ipv6``: whether the router has it.
    """
    own = [port.name for port in server.ports]
    first = {**router_sysctls([]), **dataplane}
    # The first time a key stands decides about its place, the last about its value.
    found = {**first, **router_sysctls(own), **first}
    if ipv6:
        kinds = [[port.name for port in server.ports if port.kind == kind] for kind in ("external", "internal")]
        found |= ipv6_sysctls(*kinds)
    return found | {key: value for key, value in server.kernel.sysctl if not _others(key, own)}


def _others(key: str, own: list[str]) -> bool:
    """Whether a part of the key is a port of another server."""
    return any(_PORT.fullmatch(part) and part not in own for part in key.split("."))
