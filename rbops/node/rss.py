"""Receive-side scaling: equal shares over the planned queues (``ethtool -X equal``)."""

from __future__ import annotations

import re

from rbops.node.ethtool import ask, first_context
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System

__all__ = ["read", "settings"]

_ROW = re.compile(r"^\s*\d+:((?:\s+\d+)+)\s*$", re.MULTILINE)


def read(system: System, device: str) -> tuple[int, ...]:
    """The indirection table, entry -> queue; empty where the driver shows none."""
    text = first_context(ask(system, "-x", device) or "")
    return tuple(int(queue) for row in _ROW.findall(text) for queue in row.split())


def settings(port: NodePort, device: str, table: tuple[int, ...]) -> list[Setting]:
    """The table as ``equal N`` fills it: entry i belongs to queue i modulo N."""
    if port.rss is None:
        return []
    want = f"equal {port.rss}"
    if not table:
        reason = f"driver {port.driver} has no indirection table"
        return [Setting(port.subject, "rss", "none", want, unsupported=reason)]
    equal = table == tuple(entry % port.rss for entry in range(len(table)))
    have = want if equal else "queues " + ",".join(str(queue) for queue in sorted(set(table)))
    actions = (Run(("ethtool", "-X", device, "equal", str(port.rss))),)
    return [Setting(port.subject, "rss", have, want, actions, (Run(("ethtool", "-X", device, "default")),))]
