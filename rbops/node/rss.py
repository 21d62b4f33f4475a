"""Receive-side scaling (``ethtool -X``): equal shares over the planned queues, and the hash's key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.errors import Mismatch
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System
from rbops.node.tool import ask

__all__ = ["SYMMETRIC", "RssFacts", "parse", "read", "settings"]

SYMMETRIC = "symmetric"
"""The key that gives both directions of a flow the same hash: 6d:5a repeated (Woo and Park, 2012)."""

_ROW = re.compile(r"^\s*\d+:((?:\s+\d+)+)\s*$", re.MULTILINE)
_KEY = re.compile(r"^RSS hash key:\s*\n\s*([0-9a-f]{2}(?::[0-9a-f]{2})+)\s*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RssFacts:
    """The indirection table, entry -> queue (empty: the driver shows none), and the key (None: nor that)."""

    table: tuple[int, ...] = ()
    key: str | None = None


def read(system: System, device: str) -> RssFacts:
    """The facts of one device."""
    return parse(ask(system, "-x", device) or "")


def parse(text: str) -> RssFacts:
    """Facts from the text of ``ethtool -x``, of its first table: further RSS contexts stand below."""
    first = re.split(r"^RX flow hash indirection table .*, context \d+:$", text, maxsplit=1, flags=re.MULTILINE)[0]
    key = _KEY.search(first)
    table = tuple(int(queue) for row in _ROW.findall(first) for queue in row.split())
    return RssFacts(table, key[1].lower() if key else None)


def settings(port: NodePort, device: str, facts: RssFacts, server: str) -> list[Setting]:
    """The table as ``equal N`` fills it (entry i belongs to queue i modulo N), and the planned key.

    Mismatch (3) for a key that has another length than the device's.
    """
    found = []
    if port.nic.rss is not None:
        found.append(_table(port, device, facts.table, port.nic.rss))
    if port.nic.rss_key is not None:
        found.append(_key(port, device, facts.key, port.nic.rss_key, server))
    return found


def _table(port: NodePort, device: str, table: tuple[int, ...], count: int) -> Setting:
    want = f"equal {count}"
    if not table:
        reason = f"driver {port.driver} has no indirection table"
        return Setting(port.subject, "rss", "none", want, unsupported=reason)
    equal = table == tuple(entry % count for entry in range(len(table)))
    have = want if equal else "queues " + ",".join(str(queue) for queue in sorted(set(table)))
    actions = (Run(("ethtool", "-X", device, "equal", str(count))),)
    return Setting(port.subject, "rss", have, want, actions, (Run(("ethtool", "-X", device, "default")),))


def _key(port: NodePort, device: str, have: str | None, planned: str, server: str) -> Setting:
    if have is None:
        reason = f"driver {port.driver} shows no hash key"
        return Setting(port.subject, "rss key", "none", planned, unsupported=reason)
    size = have.count(":") + 1
    want = ":".join(["6d:5a"] * (size // 2)) if planned == SYMMETRIC else planned
    if want.count(":") + 1 != size:
        raise Mismatch(
            f"{server}: port {port.name} has an RSS key of {want.count(':') + 1} bytes, device {device} takes {size}",
            hint="write nic.rss_key: symmetric, or a key of that length",
        )
    do, undo = (Run(("ethtool", "-X", device, "hkey", key)) for key in (want, have))
    return Setting(port.subject, "rss key", have, want, (do,), (undo,), tuning=True)
