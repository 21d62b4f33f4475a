"""Addresses: exactly the planned ones on every port, but for the link-local ones that the kernel makes.

Internal ports of a router with IPv6 have a link-local one of ours, the same on all: the kernel makes none where there
is no neighbour discovery, and routing daemons take no link-local next hop on a link that has no such network.
"""

from __future__ import annotations

import json

from rbops.errors import CheckFailed
from rbops.node.schema import NodePort
from rbops.node.settings import Ip, Setting
from rbops.node.system import System

__all__ = ["ON_FABRIC", "parse", "read", "settings"]

ON_FABRIC = "fe80::5252:ffff:ffff/64"
"""Beside the made-up next hops (``fabric.next_hop6``), of which none is port 65535's."""


def read(system: System, *, ipv6: bool = False) -> dict[str, tuple[str, ...]]:
    """Device -> its IPv4 addresses with prefix length, with ``ipv6`` those of IPv6 too but link-local ones."""
    done = system.run(("ip", "-json", *(() if ipv6 else ("-4",)), "address", "show"))
    if done.returncode:
        raise CheckFailed(f"ip address show: {done.stderr.strip()}", code="node.ip")
    return parse(done.stdout)


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Facts from the JSON of ``ip address show``."""
    return {
        link["ifname"]: tuple(
            address
            for info in link.get("addr_info", ())
            if "local" in info
            and ((address := f"{info['local']}/{info['prefixlen']}") == ON_FABRIC or not _is_link_local(info))
        )
        for link in json.loads(text or "[]")
        if link.get("ifname")
    }


def _is_link_local(info: dict[str, object]) -> bool:
    return info.get("family") == "inet6" and info.get("scope") == "link"


def settings(port: NodePort, device: str, facts: dict[str, tuple[str, ...]]) -> list[Setting]:
    """Addresses that are not planned go first, so that a planned one never coexists with the one it replaces."""
    have = facts.get(device, ())
    want = (*port.addresses, ON_FABRIC) if port.kind == "internal" and port.addresses6 else port.addresses
    found = []
    for address in sorted(set(have) - set(want)):
        gone, back = Ip(f"address del {address} dev {device}"), Ip(f"address add {address} dev {device}")
        found.append(Setting(port.subject, f"address {address}", "present", "absent", (gone,), (back,)))
    for address in want:
        add, gone = Ip(f"address add {address} dev {device}"), Ip(f"address del {address} dev {device}")
        now = "present" if address in have else "absent"
        found.append(Setting(port.subject, f"address {address}", now, "present", (add,), (gone,)))
    return found
