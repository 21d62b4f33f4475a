"""XPS: which CPU transmits on which queue; RPS: off, so that no second CPU touches a packet (rule 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.node.cpus import list_text, mask_text, parse_mask
from rbops.node.schema import NodePort
from rbops.node.settings import Setting, Write
from rbops.node.system import System

__all__ = ["QueueFacts", "read", "settings"]

_QUEUE = re.compile(r"(rx|tx)-(\d+)")


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """Queue (``tx-0``) -> CPUs; None where the kernel has no such file or the device refuses."""

    xps: dict[str, frozenset[int] | None]
    rps: dict[str, frozenset[int] | None]


def read(system: System, device: str) -> QueueFacts:
    """The masks of every queue the device has now."""
    base = f"/sys/class/net/{device}/queues"
    xps: dict[str, frozenset[int] | None] = {}
    rps: dict[str, frozenset[int] | None] = {}
    for queue in system.names(base):
        match = _QUEUE.fullmatch(queue)
        if match:
            text = system.read(f"{base}/{queue}/{'xps' if match[1] == 'tx' else 'rps'}_cpus")
            (xps if match[1] == "tx" else rps)[queue] = None if text is None else parse_mask(text)
    return QueueFacts(xps, rps)


def settings(port: NodePort, device: str, facts: QueueFacts) -> list[Setting]:
    """XPS of every planned transmit queue, RPS off on every receive queue there is."""
    base = f"/sys/class/net/{device}/queues"
    found = []
    for queue in port.queues:
        name, want = f"tx-{queue.index}", frozenset({queue.tx_core})
        have = facts.xps.get(name)
        found.append(_setting(port, f"xps {name}", f"{base}/{name}/xps_cpus", have, want))
    for name, have in sorted(facts.rps.items(), key=lambda item: int(item[0][3:])):
        found.append(_setting(port, f"rps {name}", f"{base}/{name}/rps_cpus", have, frozenset()))
    return found


def _setting(port: NodePort, name: str, path: str, have: frozenset[int] | None, want: frozenset[int]) -> Setting:
    text = list_text(want) or "off"
    if have is None:
        # A device with one queue has no XPS: its only queue is every CPU's.
        reason = "the kernel has no such mask for this queue" if want else None
        return Setting(port.subject, name, "none" if want else text, text, unsupported=reason)
    undo = (Write(path, mask_text(have)),)
    return Setting(port.subject, name, list_text(have) or "off", text, (Write(path, mask_text(want)),), undo)
