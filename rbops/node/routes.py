"""The kernel's slow path: one route of protocol 82 for each line of the table.

The metric is high, so that a default route of the plan never takes the management's away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address

from rbops.node.devices import PROTOCOL
from rbops.node.netlink import KernelRoute
from rbops.node.settings import Ip, Setting
from rbops.node.table import Hop

__all__ = ["METRIC", "SUBJECT", "fingerprint", "settings"]

METRIC = 8200
SUBJECT = "kernel routes"
_SINGLE = 50


def settings(
    want: Mapping[tuple[int, int], Hop],
    have: Mapping[tuple[int, int, int], KernelRoute],
    indexes: Mapping[str, int],
) -> list[Setting]:
    """The differing routes: one setting each, or a single one for all when they are more than 50."""
    names = {index: name for name, index in indexes.items()}
    changes: list[tuple[tuple[int, int], str, str, Ip]] = []
    for key in have:
        if key[2] != METRIC or key[:2] not in want:
            gone = Ip(f"route del {_prefix(key[:2])} proto {PROTOCOL} metric {key[2]}")
            changes.append((key[:2], _have(have[key], names), "absent", gone))
    for prefix, hop in want.items():
        now = have.get((*prefix, METRIC))
        if now is None or not _equal(hop, now, indexes):
            line = Ip(f"route replace {_prefix(prefix)} {_want(hop)} proto {PROTOCOL} metric {METRIC}")
            changes.append((prefix, _have(now, names), _want(hop), line))
    count = Setting(SUBJECT, "count", str(len(have)), str(len(want)), undo=_FLUSH)
    if not changes:
        return [count]
    if len(changes) > _SINGLE:
        now_text, want_text = f"{len(have)} routes", f"{len(want)} routes, {len(changes)} to change"
        return [Setting(SUBJECT, "table", now_text, want_text, tuple(change[3] for change in changes), _FLUSH)]
    return [
        Setting(SUBJECT, _prefix(prefix), now_text, want_text, (action,), _FLUSH)
        for prefix, now_text, want_text, action in changes
    ]


_FLUSH = (Ip(f"route flush proto {PROTOCOL}"),)


def fingerprint(table_sha256: str, plan_digest: str, indexes: Mapping[str, int], dump: bytes) -> str:
    """One digest over what is wanted and the kernel's own bytes: equal means that nobody touched either."""
    wanted = f"{table_sha256} {plan_digest} {sorted(indexes.items())}"
    return hashlib.sha256(wanted.encode() + b"\0" + hashlib.sha256(dump).digest()).hexdigest()


def _equal(hop: Hop, route: KernelRoute, indexes: Mapping[str, int]) -> bool:
    return (
        route.gateway == hop.gateway
        and route.device == indexes.get(hop.device)
        and route.onlink == hop.onlink
        and (hop.source is None or route.source == hop.source)
    )


def _prefix(prefix: tuple[int, ...]) -> str:
    return f"{IPv4Address(prefix[0])}/{prefix[1]}"


def _want(hop: Hop) -> str:
    onlink = " onlink" if hop.onlink else ""
    source = "" if hop.source is None else f" src {IPv4Address(hop.source)}"
    return f"via {IPv4Address(hop.gateway)} dev {hop.device}{onlink}{source}"


def _have(route: KernelRoute | None, names: Mapping[int, str]) -> str:
    if route is None:
        return "absent"
    device = names.get(route.device or 0, f"#{route.device}")
    gateway = "" if route.gateway is None else f"via {IPv4Address(route.gateway)} "
    source = "" if route.source is None else f" src {IPv4Address(route.source)}"
    return f"{gateway}dev {device}{' onlink' if route.onlink else ''}{source}"
