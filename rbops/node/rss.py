"""Receive-side scaling (``ethtool -X``): equal shares over the planned queues."""

from __future__ import annotations

import re

from rbops.node.config import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System
from rbops.node.tool import ask

__all__ = ["parse", "read", "settings"]

_ROW = re.compile(r"^\s*\d+:((?:\s+\d+)+)\s*$", re.MULTILINE)


def read(system: System, device: str) -> tuple[int, ...] | None:
    """The indirection table: entry -> queue; None when the driver has none."""
    text = ask(system, "-x", device)
    return (parse(text) or None) if text is not None else None


def parse(text: str) -> tuple[int, ...]:
    """The table from the text of ``ethtool -x``; the key's line holds no decimal rows."""
    return tuple(int(queue) for row in _ROW.findall(text) for queue in row.split())


def settings(port: NodePort, device: str, facts: tuple[int, ...] | None) -> list[Setting]:
    """The table as ``equal N`` fills it: entry i belongs to queue i modulo N."""
    if port.rss is None:
        return []
    count, want = port.rss, f"equal {port.rss}"
    if facts is None:
        reason = f"driver {port.driver} has no indirection table"
        return [Setting(port.subject, "rss", "none", want, unsupported=reason)]
    equal = facts == tuple(entry % count for entry in range(len(facts)))
    have = want if equal else "queues " + ",".join(str(queue) for queue in sorted(set(facts)))
    actions = (Run(("ethtool", "-X", device, "equal", str(count))),)
    return [Setting(port.subject, "rss", have, want, actions, (Run(("ethtool", "-X", device, "default")),))]
