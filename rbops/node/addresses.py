"""Addresses: exactly the planned ones on every port, but for the link-local ones that the kernel makes."""

from __future__ import annotations

import json

from rbops.errors import CheckFailed
from rbops.node.schema import NodePort
from rbops.node.settings import Ip, Setting
from rbops.node.system import System

__all__ = ["parse", "read", "settings"]


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
            f"{info['local']}/{info['prefixlen']}"
            for info in link.get("addr_info", ())
            if "local" in info and not (info.get("family") == "inet6" and info.get("scope") == "link")
        )
        for link in json.loads(text or "[]")
        if link.get("ifname")
    }


def settings(port: NodePort, device: str, facts: dict[str, tuple[str, ...]]) -> list[Setting]:
    """Addresses that are not planned go first, so that a planned one never coexists with the one it replaces."""
    have = facts.get(device, ())
    found = []
    for address in sorted(set(have) - set(port.addresses)):
        gone, back = Ip(f"address del {address} dev {device}"), Ip(f"address add {address} dev {device}")
        found.append(Setting(port.subject, f"address {address}", "present", "absent", (gone,), (back,)))
    for address in port.addresses:
        add, gone = Ip(f"address add {address} dev {device}"), Ip(f"address del {address} dev {device}")
        now = "present" if address in have else "absent"
        found.append(Setting(port.subject, f"address {address}", now, "present", (add,), (gone,)))
    return found
