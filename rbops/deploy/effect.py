"""What a change does to packets while it is made, told before it is made.

Some drivers take a new ring size or an offload without a reset of the port, most do not: what is said is for those. A
change of which nothing is known is said to move traffic.
"""

from __future__ import annotations

import re
from enum import StrEnum

__all__ = ["Effect", "effect"]


class Effect(StrEnum):
    """Of one change, in words that follow a dash."""

    HITLESS = "hitless"
    MOVES = "moves traffic"
    """Packets take other queues, cores or cables: none is lost, some may be out of order."""
    RESETS = "resets the port"
    """Packets on their way through the device are lost."""
    REBOOT = "needs a reboot"


_SUBJECTS = (
    (
        r"file|sysctl|CPU \d+|irqbalance|huge pages|modules?( .*)?|kernel routes|policy rules|host interface|rbops.*",
        Effect.HITLESS,
    ),
    (r"boot", Effect.REBOOT),
    (r"server", Effect.RESETS),
)
_DATA_PLANE = (
    (r"program|forwarding table|counters.*", Effect.HITLESS),
    # Nothing is forwarded between the one and the other.
    (r"kind", Effect.RESETS),
)
_PORT = (
    (
        r"coalesce .*|irq.*|[xr]ps .*|napi .*|threaded.*|defer_hard_irqs|.*flush_timeout.*|.*irqs|neighbor .*",
        Effect.HITLESS,
    ),
    (r"address .*|GRO size|kernel input", Effect.HITLESS),
    (r"channels|ring .*|offload .*|mtu|state|driver|VRF|XDP program", Effect.RESETS),
)


def effect(subject: str, setting: str) -> Effect:
    """What changing ``setting`` of ``subject`` does, named as `rbops-node diff` names them."""
    if subject.startswith("port "):
        return _first(_PORT, setting)
    return _first(_DATA_PLANE, setting) if subject == "data plane" else _first(_SUBJECTS, subject)


def _first(table: tuple[tuple[str, Effect], ...], name: str) -> Effect:
    return next((found for pattern, found in table if re.fullmatch(pattern, name)), Effect.MOVES)
