"""The sysctls of a router that rbops sets itself: for its whole kernel, and for each data port."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["ipv6_sysctls", "is_router_sysctl", "router_sysctls", "tunnel_sysctls"]

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
    # Without IPv6 in the spec: no router solicitation, no link-local address on a data port.
    "net.ipv6.conf.{}.disable_ipv6": "1",
}
_KERNEL6 = {
    "net.ipv6.conf.all.forwarding": "1",
    # The kernel's ICMPv6 errors follow the rules for the packet that they are about.
    "net.ipv6.fwmark_reflect": "1",
}
_PORT6 = {
    "net.ipv6.conf.{}.disable_ipv6": "0",
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.autoconf": "0",
    "net.ipv6.conf.{}.accept_redirects": "0",
    # The planned addresses outlive a port that is down, as IPv4's do.
    "net.ipv6.conf.{}.keep_addr_on_down": "1",
}
_EXTERNAL6 = {
    # A link-local address: neighbours are asked with it.
    "net.ipv6.conf.{}.addr_gen_mode": "0",
}
_CABLE6 = {
    # Nobody else is on a cable of the fabric, and every server has its address on all of them.
    "net.ipv6.conf.{}.accept_dad": "0",
    "net.ipv6.conf.{}.addr_gen_mode": "1",
}
# ip_forward is the sum of these.
_RELATED = ("net.ipv4.conf.{}.forwarding", "net.ipv6.conf.{}.forwarding")


def router_sysctls(ports: Iterable[str]) -> dict[str, str]:
    """Key -> value; a part of a key that is one of ``ports`` stands for the device it is on the server."""
    return _KERNEL | {key.format(port): value for port in ports for key, value in _PORT.items()}


def tunnel_sysctls(device: str) -> dict[str, str]:
    """The same of an interface that leads into a tunnel."""
    names = ("net.ipv4.conf.{}.rp_filter", "net.ipv4.conf.{}.send_redirects", "net.ipv4.conf.{}.accept_redirects")
    return {name.format(device): "0" for name in names} | {f"net.ipv6.conf.{device}.disable_ipv6": "1"}


def ipv6_sysctls(external: Iterable[str], internal: Iterable[str]) -> dict[str, str]:
    """The same of a router with IPv6, in place of what turns it off."""
    found = dict(_KERNEL6)
    for ports, special in ((external, _EXTERNAL6), (internal, _CABLE6)):
        found |= {key.format(port): value for port in ports for key, value in (*_PORT6.items(), *special.items())}
    return found


def is_router_sysctl(key: str) -> bool:
    """Whether the router depends on it, on whatever device: another value would stop the router, or open it."""
    patterns = (re.escape(pattern).replace(r"\{\}", "[^.]+") for pattern in (*_PORT, *_PORT6, *_CABLE6, *_RELATED))
    return key in _KERNEL or key in _KERNEL6 or any(re.fullmatch(pattern, key) for pattern in patterns)
