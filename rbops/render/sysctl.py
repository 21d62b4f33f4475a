"""The kernel parameters of a server: a router's slow path, and quiet data ports."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rbops.plan import Server

__all__ = ["sysctl"]

_PORT = re.compile(r"ext[0-9]+|int[0-9]+(?:p[0-9]+)?")

_ALL = {
    "net.ipv4.ip_forward": "1",
    # Packets of one flow come in on any link: the reverse path says nothing.
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    # traceroute shows the port that a packet came in on, never the management address.
    "net.ipv4.icmp_errors_use_inbound_ifaddr": "1",
}


def sysctl(server: Server, dataplane: Mapping[str, str]) -> dict[str, str]:
    """Key -> value; the part of a key that is a planned port stands for the device it is on the server.

    ``dataplane`` is what the data plane wants besides. The spec's own come last, those of other servers' ports
    left out.
    """
    found = {**_ALL, **dataplane}
    for port in server.ports:
        found[f"net.ipv4.conf.{port.name}.rp_filter"] = "0"
        found[f"net.ipv4.conf.{port.name}.send_redirects"] = "0"
        found[f"net.ipv4.conf.{port.name}.accept_redirects"] = "0"
        # The router forwards IPv4: no router solicitation, no link-local address on a data port.
        found[f"net.ipv6.conf.{port.name}.disable_ipv6"] = "1"
    own = {port.name for port in server.ports}
    return found | {key: value for key, value in server.kernel.sysctl if not _others(key, own)}


def _others(key: str, own: set[str]) -> bool:
    """Whether a part of the key is a port of another server."""
    return any(_PORT.fullmatch(part) and part not in own for part in key.split("."))
