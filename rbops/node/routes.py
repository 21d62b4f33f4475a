"""The kernel's slow path: one route of protocol 82, in the router's own table, for each line of the table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address
from socket import inet_ntoa

from rbops.node.devices import PROTOCOL, TABLE
from rbops.node.netlink import BROADCAST, LOCAL, KernelRoute
from rbops.node.settings import Ip, Setting
from rbops.node.table import Hop

__all__ = ["SUBJECT", "fingerprint", "settings"]

SUBJECT = "kernel routes"
_SINGLE = 50
_KINDS = {LOCAL: "local ", BROADCAST: "broadcast "}
_SCOPES = {LOCAL: "host"}
_OURS = f"proto {PROTOCOL} table {TABLE}"


def settings(
    want: Mapping[tuple[int, int], Hop],
    have: Mapping[tuple[int, int, int], KernelRoute],
    indexes: Mapping[str, int],
) -> list[Setting]:
    """The differing routes: one setting each, or a single one for all when they are more than 50."""
    todo = [key for key in have if key[2] or key[:2] not in want]
    texts = {id(hop): _want(hop) for hop in want.values()}
    numbers = {id(hop): (hop.gateway, indexes.get(hop.device), hop.onlink, hop.kind) for hop in want.values()}
    changes: list[tuple[tuple[int, int], KernelRoute | None, str, Ip]] = [
        (key[:2], have[key], "absent", Ip(f"route del {_prefix(key)} {_OURS} metric {key[2]}")) for key in todo
    ]
    for prefix, hop in want.items():
        now = have.get((prefix[0], prefix[1], 0))
        if now is None or not _equal(numbers[id(hop)], hop, now):
            text = texts[id(hop)]
            line = Ip(f"route replace {_KINDS.get(hop.kind, '')}{_prefix(prefix)} {text} {_OURS}")
            changes.append((prefix, now, text, line))
    if not changes:
        return [Setting(SUBJECT, "count", str(len(have)), str(len(want)), undo=_FLUSH)]
    if len(changes) > _SINGLE:
        now_text, want_text = f"{len(have)} routes", f"{len(want)} routes, {len(changes)} to change"
        return [Setting(SUBJECT, "table", now_text, want_text, tuple(change[3] for change in changes), _FLUSH)]
    names = {index: name for name, index in indexes.items()}
    return [
        Setting(SUBJECT, _prefix(prefix), _have(now, names), want_text, (action,), _FLUSH)
        for prefix, now, want_text, action in changes
    ]


_FLUSH = (Ip(f"route flush {_OURS}"),)


def fingerprint(table_sha256: str, plan_digest: str, indexes: Mapping[str, int], dump: bytes) -> str:
    """One digest over what is wanted and the kernel's own bytes: equal means that neither was changed."""
    wanted = f"{table_sha256} {plan_digest} {sorted(indexes.items())}"
    return hashlib.sha256(wanted.encode() + b"\0" + hashlib.sha256(dump).digest()).hexdigest()


def _equal(numbers: tuple[int | None, int | None, bool, int], hop: Hop, route: KernelRoute) -> bool:
    return numbers == (route.gateway, route.device, route.onlink, route.kind) and hop.source in (None, route.source)


def _prefix(prefix: tuple[int, ...]) -> str:
    return f"{inet_ntoa(prefix[0].to_bytes(4, 'big'))}/{prefix[1]}"


def _want(hop: Hop) -> str:
    if hop.gateway is None:
        scope = _SCOPES.get(hop.kind, "link")
        return f"dev {hop.device} scope {scope}" + ("" if hop.source is None else f" src {IPv4Address(hop.source)}")
    onlink = " onlink" if hop.onlink else ""
    source = "" if hop.source is None else f" src {IPv4Address(hop.source)}"
    return f"via {IPv4Address(hop.gateway)} dev {hop.device}{onlink}{source}"


def _have(route: KernelRoute | None, names: Mapping[int, str]) -> str:
    if route is None:
        return "absent"
    device = names.get(route.device or 0, f"#{route.device}")
    gateway = "" if route.gateway is None else f"via {IPv4Address(route.gateway)} "
    source = "" if route.source is None else f" src {IPv4Address(route.source)}"
    return f"{_KINDS.get(route.kind, '')}{gateway}dev {device}{' onlink' if route.onlink else ''}{source}"
