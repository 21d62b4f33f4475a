"""The VRF ``rbops``: where the kernel has VRFs the data ports are in one of their own, whose table is the router's.

The policy rules (``rules.py``) decide about routes on every kernel. What a VRF adds: sockets of the server's own
services do not take what comes in on a data port, and local addresses are in its table by the kernel itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.devices import TABLE, VRF, Device
from rbops.node.schema import NodeConfig
from rbops.node.settings import Action, Ip, Run, Setting
from rbops.node.system import System

__all__ = ["SUBJECT", "available", "check", "chosen", "settings"]

SUBJECT = "VRF"
_NEW = f"link add {VRF} type vrf table {TABLE}"


def available(system: System) -> bool:
    """Whether the kernel has VRFs. It is asked to make one without a table, which fails in another way if it has."""
    said = system.run(("ip", "link", "add", VRF, "type", "vrf")).stderr.lower()
    return "table" in said or "file exists" in said


def chosen(config: NodeConfig, system: System) -> bool:
    """Whether the data ports are, or are to be, in a VRF on this server."""
    return config.separation != "rules" and available(system)


def check(config: NodeConfig, system: System) -> None:
    """Mismatch (3) where a VRF is asked for and the kernel has none."""
    if config.separation == "vrf" and not available(system):
        # FRR writes OSPF's routes to a VRF's table alone.
        frr = config.routing is not None and config.routing.kind == "frr"
        raise Mismatch(
            "the kernel has no VRFs",
            code="node.no-vrf",
            where=Where(server=config.server),
            hint="for OSPF write `daemon: bird` in the spec, or run a kernel with CONFIG_NET_VRF, as Debian's has"
            if frr
            else "write `router: {separation: auto}` in the spec, or run a kernel with CONFIG_NET_VRF, as Debian's has",
        )


def settings(config: NodeConfig, names: Mapping[str, str], now: Mapping[str, Device], system: System) -> list[Setting]:
    """The VRF, and each data port in it; ``now`` are this server's devices. Nothing where none is chosen."""
    if not chosen(config, system):
        return []
    device = now.get(VRF)
    up = device is not None and "UP" in device.flags
    undo: tuple[Action, ...] = (Ip(f"link del {VRF}"), *_rules_undo(system))
    found = [
        Setting(SUBJECT, VRF, "present" if device else "absent", "present", (Ip(_NEW),), undo),
        Setting(SUBJECT, "state", "up" if up else "down", "up", (Ip(f"link set dev {VRF} up"),)),
    ]
    places = [(port.subject, names[port.name]) for port in config.kernel_ports]
    if config.host is not None:
        places.append(("host interface", config.host.device))
    for subject, name in places:
        have = (now[name].master if name in now else None) or "none"
        line = f"link set dev {name}"
        found.append(Setting(subject, "VRF", have, VRF, (Ip(f"{line} master {VRF}"),), (Ip(f"{line} nomaster"),)))
    return found


def _rules_undo(system: System) -> tuple[Action, ...]:
    """The kernel adds a rule at 1000 for each family with the first VRF, and never takes it away."""
    found: list[Action] = []
    for family in ("-4", "-6"):
        done = system.run(("ip", "-json", family, "rule", "show", "pref", "1000"))
        if done.returncode:
            raise CheckFailed(f"ip rule show: {done.stderr.strip()}", code="node.ip")
        if not json.loads(done.stdout or "[]"):
            # Not in a batch: there the family is no option.
            found.append(Run(("ip", family, "rule", "del", "pref", "1000")))
    return tuple(found)
