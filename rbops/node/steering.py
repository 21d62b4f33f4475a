"""Steering by destination MAC into receive queues (``ethtool -N``; paper 6.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.common.fabric import FABRIC_MAC
from rbops.errors import Mismatch, Where
from rbops.nic.drivers import driver
from rbops.node.ethtool import ask
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System

__all__ = ["Filter", "asked", "parse", "read", "settings"]

_FILTER = re.compile(r"^Filter: (\d+)$", re.MULTILINE)
_MAC = re.compile(r"Dest MAC addr: (\S+) mask: 00:00:00:00:00:00")
_QUEUE = re.compile(r"Action: Direct to queue (\d+)")


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule in the NIC."""

    location: int
    mac: str
    queue: int


def asked(port: NodePort) -> bool:
    """Whether to ask: for planned rules, and for left ones where the driver has any."""
    return bool(port.steering) or driver(port.driver).mac_rules != "none"


def read(system: System, device: str) -> tuple[Filter, ...] | None:
    """The rules by destination MAC; None when the driver has no such rules."""
    text = ask(system, "-n", device)
    return None if text is None else parse(text)


def parse(text: str) -> tuple[Filter, ...]:
    """Facts from the text of ``ethtool -n``; rules of other kinds are not ours."""
    parts = _FILTER.split(text)[1:]
    found = []
    for location, body in zip(parts[::2], parts[1::2], strict=True):
        mac, queue = _MAC.search(body), _QUEUE.search(body)
        if "Raw Ethernet" in body and mac and queue:
            found.append(Filter(int(location), mac[1].lower(), int(queue[1])))
    return tuple(found)


def settings(port: NodePort, device: str, facts: tuple[Filter, ...] | None, server: str) -> list[Setting]:
    """One setting a planned rule, and one for each rule on a fabric MAC that is not planned.

    Mismatch (3) where the driver has no such rules and the spec does not let the data plane dispatch instead.
    """
    if facts is None:
        if not port.steering:
            return []
        if not port.nic.steering_fallback:
            raise Mismatch(
                f"port {port.name} is planned with {len(port.steering)} rules by MAC, driver {port.driver} has none",
                code="nic.no-mac-rules",
                where=Where(server=server, device=device),
                hint="write `nic: {steering: auto}`: the data plane then dispatches in software",
            )
        reason = f"driver {port.driver} has no rules by MAC: the data plane dispatches in software"
        return [Setting(port.subject, "steering", "none", f"{len(port.steering)} rules", unsupported=reason)]
    have = {rule.mac: rule for rule in facts}
    want = {rule.mac: rule.queue for rule in port.steering}
    found = []
    for mac in sorted({mac for mac in have if mac.startswith(FABRIC_MAC)} - want.keys()):
        drop = (Run(("ethtool", "-N", device, "delete", str(have[mac].location))),)
        found.append(Setting(port.subject, f"steering {mac}", f"queue {have[mac].queue}", "none", drop))
    for mac, queue in want.items():
        old = have.get(mac)
        before: tuple[Run, ...] = () if old is None else (Run(("ethtool", "-N", device, "delete", str(old.location))),)
        rule = Run(("ethtool", "-N", device, "flow-type", "ether", "dst", mac, "action", str(queue)))
        now = "none" if old is None else f"queue {old.queue}"
        found.append(
            Setting(
                port.subject,
                f"steering {mac}",
                now,
                f"queue {queue}",
                (*before, rule),
                tuning=port.nic.steering_fallback,
            )
        )
    return found
