"""Permanent neighbours on the planned ports: the planned ones and the fabric's next hops."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rbops.errors import CheckFailed
from rbops.node.settings import Ip, Setting
from rbops.node.system import System

__all__ = ["parse", "read", "settings"]


def read(system: System, *, ipv6: bool = False) -> dict[tuple[str, str], str]:
    """(device, address) -> MAC of every permanent IPv4 neighbour, with ``ipv6`` of IPv6's too."""
    done = system.run(("ip", "-json", *(() if ipv6 else ("-4",)), "neighbour", "show", "nud", "permanent"))
    if done.returncode:
        raise CheckFailed(f"ip neighbour show: {done.stderr.strip()}", code="node.ip")
    return parse(done.stdout)


def parse(text: str) -> dict[tuple[str, str], str]:
    """Facts from the JSON of ``ip neighbour show``."""
    return {(entry["dev"], entry["dst"]): str(entry.get("lladdr", "")) for entry in json.loads(text or "[]")}


def settings(
    ports: Mapping[str, str], want: Mapping[tuple[str, str], str], facts: Mapping[tuple[str, str], str]
) -> list[Setting]:
    """``ports`` is device -> planned port. Neighbours on other devices are not ours to touch."""
    found = []
    for (device, address), mac in sorted(facts.items()):
        if device in ports and (device, address) not in want:
            back = Ip(f"neighbour replace {address} lladdr {mac} dev {device} nud permanent")
            gone = Ip(f"neighbour del {address} dev {device}")
            subject = f"port {ports[device]}"
            found.append(Setting(subject, f"neighbor {address}", mac, "absent", (gone,), (back,)))
    for (device, address), mac in sorted(want.items()):
        have = facts.get((device, address), "absent")
        add = Ip(f"neighbour replace {address} lladdr {mac} dev {device} nud permanent")
        gone = Ip(f"neighbour del {address} dev {device}")
        found.append(Setting(f"port {ports[device]}", f"neighbor {address}", have, mac, (add,), (gone,)))
    return found
