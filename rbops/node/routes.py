"""The kernel's slow path: one route of protocol 82, in the router's own table, for each line of the table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop

from rbops.node.devices import PROTOCOL, TABLE
from rbops.node.netlink import BROADCAST, LOCAL, KernelRoute, Routes
from rbops.node.settings import Action, Ip, Run, Setting
from rbops.node.table import Hop

__all__ = ["IPV4", "IPV6", "SUBJECT", "SUBJECT6", "Kind", "fingerprint", "settings", "without_cut"]

SUBJECT, SUBJECT6 = "kernel routes", "kernel IPv6 routes"
_SINGLE = 50
_KINDS = {LOCAL: "local ", BROADCAST: "broadcast "}
_SCOPES = {LOCAL: "host"}
_OURS = f"proto {PROTOCOL} table {TABLE}"


@dataclass(frozen=True, slots=True)
class Kind:
    """How routes of a family are written; ``metric`` is what the kernel gives those that name none."""

    subject: str
    metric: int
    family: int
    flush: tuple[Action, ...]
    address: Callable[[int], object]

    def prefix(self, prefix: tuple[int, ...]) -> str:
        """As ip takes it."""
        size = 4 if self.family == AF_INET else 16
        return f"{inet_ntop(self.family, prefix[0].to_bytes(size, 'big'))}/{prefix[1]}"

    def text(self, hop: Hop) -> str:
        """A next hop as ip takes it."""
        source = "" if hop.source is None else f" src {self.address(hop.source)}"
        if hop.gateway is None:
            scope = f" scope {_SCOPES.get(hop.kind, 'link')}" if self.family == AF_INET else ""
            return f"dev {hop.device}{scope}{source}"
        onlink = " onlink" if hop.onlink else ""
        return f"via {self.address(hop.gateway)} dev {hop.device}{onlink}{source}"


IPV4 = Kind(SUBJECT, 0, AF_INET, (Ip(f"route flush {_OURS}"),), IPv4Address)
IPV6 = Kind(SUBJECT6, 1024, AF_INET6, (Run(("ip", "-6", "route", "flush", *_OURS.split())),), IPv6Address)


def settings(
    want: Mapping[tuple[int, int], Hop],
    have: Routes,
    indexes: Mapping[str, int],
    kind: Kind = IPV4,
) -> list[Setting]:
    """The differing routes: one setting each, or a single one for all when they are more than 50."""
    subject, flush, _prefix, _want = kind.subject, kind.flush, kind.prefix, kind.text
    todo = [key for key in have if key[2] != kind.metric or key[:2] not in want]
    texts = {id(hop): _want(hop) for hop in want.values()}
    numbers = {id(hop): (hop.gateway, indexes.get(hop.device), hop.onlink, hop.kind) for hop in want.values()}
    changes: list[tuple[tuple[int, int], KernelRoute | None, str, Ip]] = [
        (key[:2], have[key], "absent", Ip(f"route del {_prefix(key)} {_OURS} metric {key[2]}")) for key in todo
    ]
    for prefix, hop in want.items():
        now = have.get((prefix[0], prefix[1], kind.metric))
        if now is None or not _equal(numbers[id(hop)], hop, now):
            text = texts[id(hop)]
            line = Ip(f"route replace {_KINDS.get(hop.kind, '')}{_prefix(prefix)} {text} {_OURS}")
            changes.append((prefix, now, text, line))
    if not changes:
        return [Setting(subject, "count", str(len(have)), str(len(want)), undo=flush)]
    if len(changes) > _SINGLE:
        now_text, want_text = f"{len(have)} routes", f"{len(want)} routes, {len(changes)} to change"
        return [Setting(subject, "table", now_text, want_text, tuple(change[3] for change in changes), flush)]
    names = {index: name for name, index in indexes.items()}
    return [
        Setting(subject, _prefix(prefix), _have(now, names, kind), want_text, (action,), flush)
        for prefix, now, want_text, action in changes
    ]


def without_cut(
    want: Mapping[tuple[int, int], Hop],
    have: Routes,
    indexes: Mapping[str, int],
    *,
    inside: frozenset[int],
    cut: frozenset[int],
    absent: bool,
) -> tuple[dict[tuple[int, int], Hop], dict[tuple[int, int, int], KernelRoute]]:
    """Both without the routes whose planned device is one of ``cut`` and which the kernel leads over another one.

    That one is of ``inside``, the internal devices, and the next hop is the planned one. With ``absent`` those too
    that the kernel does not have at all, or has otherwise: no packet would follow them over their planned device.
    """
    over = {index: name for name, index in indexes.items() if index in cut}
    names = frozenset(over.values())
    dead = {prefix: hop for prefix, hop in want.items() if hop.gateway is not None and hop.device in names}
    moved = {
        key[:2]
        for key, route in have.items()
        if key[:2] in dead and route.device in inside - cut and route.gateway == dead[key[:2]].gateway
    }
    left = dead.keys() if absent else moved
    return (
        {prefix: hop for prefix, hop in want.items() if prefix not in left},
        {key: route for key, route in have.items() if key[:2] not in left},
    )


def fingerprint(table_sha256: str, plan_digest: str, indexes: Mapping[str, int], dump: bytes) -> str:
    """One digest over what is wanted and the kernel's own bytes: equal means that neither was changed."""
    wanted = f"{table_sha256} {plan_digest} {sorted(indexes.items())}"
    return hashlib.sha256(wanted.encode() + b"\0" + hashlib.sha256(dump).digest()).hexdigest()


def _equal(numbers: tuple[int | None, int | None, bool, int], hop: Hop, route: KernelRoute) -> bool:
    return numbers == (route.gateway, route.device, route.onlink, route.kind) and hop.source in (None, route.source)


def _have(route: KernelRoute | None, names: Mapping[int, str], kind: Kind) -> str:
    if route is None:
        return "absent"
    device = names.get(route.device or 0, f"#{route.device}")
    gateway = "" if route.gateway is None else f"via {kind.address(route.gateway)} "
    source = "" if route.source is None else f" src {kind.address(route.source)}"
    return f"{_KINDS.get(route.kind, '')}{gateway}dev {device}{' onlink' if route.onlink else ''}{source}"
