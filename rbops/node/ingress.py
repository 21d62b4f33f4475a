"""Ports that a program has for itself: what they receive does not reach the kernel a second time.

Packet sockets (AF_PACKET) see a frame before traffic control does, so a filter there that drops all keeps
the kernel from routing, answering or forwarding what the program handles already.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System

__all__ = ["Facts", "read", "settings"]

_PREFERENCE = "82"
# Classic BPF, one instruction: return TC_ACT_SHOT.
_DROP_ALL = "1,6 0 0 2"


@dataclass(frozen=True, slots=True)
class Facts:
    """``closed``: the filter is there; ``hooked``: the device has the qdisc that such filters hang on."""

    closed: bool = False
    hooked: bool = False


def read(system: System, device: str) -> Facts:
    """What there is."""
    hooked = "qdisc clsact" in system.run(("tc", "qdisc", "show", "dev", device, "clsact")).stdout
    if not hooked:
        return Facts()
    done = system.run(("tc", "filter", "show", "dev", device, "ingress"))
    closed = any(
        f"pref {_PREFERENCE} bpf" in line and "direct-action" in line and f"'{_DROP_ALL}'" in line
        for line in done.stdout.splitlines()
    )
    return Facts(closed, hooked)


def settings(port: NodePort, device: str, facts: Facts) -> list[Setting]:
    """One setting on a port that is to be closed; nothing on others."""
    if not port.closed:
        return []
    filters = ("tc", "filter", "replace", "dev", device, "ingress", "pref", _PREFERENCE, "protocol", "all")
    actions = (
        Run(("tc", "qdisc", "replace", "dev", device, "clsact")),
        Run((*filters, "bpf", "da", "bytecode", _DROP_ALL)),
    )
    filter_off = Run(("tc", "filter", "del", "dev", device, "ingress", "pref", _PREFERENCE))
    undo = (filter_off,) if facts.hooked else (filter_off, Run(("tc", "qdisc", "del", "dev", device, "clsact")))
    return [Setting(port.subject, "kernel input", "closed" if facts.closed else "open", "closed", actions, undo)]
