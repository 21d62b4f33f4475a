"""The sysctls of a router that rbops sets itself: for its whole kernel, and for each data port."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["is_router_sysctl", "router_sysctls"]

_KERNEL = {
    "net.ipv4.ip_forward": "1",
    # Packets of one flow come in on any link: the reverse path says nothing.
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    # traceroute shows the port that a packet came in on, never the management address.
    "net.ipv4.icmp_errors_use_inbound_ifaddr": "1",
}
_PORT = {
    "net.ipv4.conf.{}.rp_filter": "0",
    "net.ipv4.conf.{}.send_redirects": "0",
    "net.ipv4.conf.{}.accept_redirects": "0",
    # A port answers ARP for its own address alone, and asks with that.
    "net.ipv4.conf.{}.arp_ignore": "1",
    "net.ipv4.conf.{}.arp_announce": "2",
    # The router forwards IPv4: no router solicitation, no link-local address on a data port.
    "net.ipv6.conf.{}.disable_ipv6": "1",
}
# ip_forward is the sum of these.
_RELATED = ("net.ipv4.conf.{}.forwarding",)


def router_sysctls(ports: Iterable[str]) -> dict[str, str]:
    """Key -> value; a part of a key that is one of ``ports`` stands for the device it is on the server."""
    return _KERNEL | {key.format(port): value for port in ports for key, value in _PORT.items()}


def is_router_sysctl(key: str) -> bool:
    """Whether the router depends on it, on whatever device: another value would stop the router, or open it."""
    patterns = (re.escape(pattern).replace(r"\{\}", "[^.]+") for pattern in (*_PORT, *_RELATED))
    return key in _KERNEL or any(re.fullmatch(pattern, key) for pattern in patterns)
