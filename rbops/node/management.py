"""The addresses by which a server is managed: where it gives figures, and sends them from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from rbops.node.system import System

__all__ = ["addresses"]


def addresses(network: str | None, ports: Iterable[str], system: System) -> tuple[str, ...]:
    """The server's addresses in ``network``; without one those of the devices with a default route; without such a
    route all. Never one of a data port (``ports``: their devices).
    """
    done = system.run(("ip", "-json", "address", "show", "scope", "global"))
    links = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    away = {*ports, "lo"}
    found = {link["ifname"]: link.get("addr_info", []) for link in links if link.get("ifname") not in away}
    here = [(device, info["local"]) for device, infos in found.items() for info in infos if _usable(info)]
    if network is not None:
        chosen = [address for _, address in here if ip_address(address) in ip_network(network)]
    else:
        default = _default_devices(system)
        chosen = [address for device, address in here if device in default] or [address for _, address in here]
    return tuple(sorted(set(chosen)))


def _usable(info: Mapping[str, Any]) -> bool:
    """Not one that another server may have too, and not one that changes by itself."""
    return "local" in info and not info.get("tentative") and not info.get("temporary")


def _default_devices(system: System) -> set[str]:
    found = set()
    for family in ("-4", "-6"):
        done = system.run(("ip", family, "-json", "route", "show", "default"))
        for route in json.loads(done.stdout or "[]") if done.returncode == 0 else []:
            found |= {hop["dev"] for hop in route.get("nexthops") or [route] if "dev" in hop}
    return found
