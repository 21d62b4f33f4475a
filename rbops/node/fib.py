"""``rbops-node fib``: keeps the data plane's table equal to the kernel's, by what the kernel says of each change."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from rbops.common.hops import Hop, Near
from rbops.dataplane.base import RouteTable
from rbops.errors import Mismatch
from rbops.node.devices import TABLE
from rbops.node.pace import Pace
from rbops.node.rib import Rib
from rbops.node.ribdump import families, listed_ribs, read_ribs
from rbops.node.ribview import Unresolved, distinct, route_text, unresolved
from rbops.node.rtnetlink import Bulk, Reader
from rbops.node.rtsocket import Socket, touch_neighbor
from rbops.node.side import Side
from rbops.node.state import read_running, write_whole
from rbops.node.ways import text_of

__all__ = ["STATUS", "Follower", "audit", "changes", "read_status", "trace"]

STATUS = Path("/run/rbops-fib.json")
"""What the follower says of itself, for ``rbops-node status``."""

_TOUCH_S, _STATUS_S, _AUDIT_S, _RESYNC_S, _WAIT_S = 20.0, 1.0, 60.0, 1.0, 0.5
_RESYNC_MOST_S = 60.0
_AUDIT_SHARE = _STATUS_SHARE = 50
_IN_FLIGHT_S = 0.5
_MOST = 1000


@dataclass(slots=True)
class Counts:
    """What happened since the start."""

    messages: int = 0
    updates: int = 0
    renewed: int = 0
    overruns: int = 0
    resyncs: int = 0
    audits: int = 0
    repaired: int = 0
    moved: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


class Follower:
    """Follows until ``rounds`` are over (None: for ever). ``say`` gets a line for what an operator should know."""

    def __init__(
        self, table: RouteTable, say: Callable[[str], None], status: Path = STATUS, *, audits: bool = True
    ) -> None:
        self._table, self._say, self._status_path, self._audits = table, say, status, audits
        self.counts = Counts()
        self._ipv6 = table.ports.ipv6
        self._reader = Reader(TABLE, ipv6=self._ipv6)
        self._pace = Pace()
        self._sides = [Side(table.ports, family) for family in families(table.ports)]
        self._touch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._touch.bind((0, 0))
        self._next = {"touch": 0.0, "status": 0.0, "resync": 0.0, "audit": time.monotonic() + _AUDIT_S}
        self._child: subprocess.Popen[str] | None = None
        self._child_began = 0.0
        self._lost = False
        self._reading_s = 0.0
        self._waiting = ""

    def run(self, rounds: int | None = None) -> None:
        """Follow. Raises CheckFailed when the kernel refuses to list its routes."""
        # A search through millions of objects, over and over, finds nothing: what is given up has no cycles but for
        # a whole table (see _write).
        gc.disable()
        events = Socket(ipv6=self._ipv6)
        try:
            self.resync()
            while rounds is None or rounds > 0:
                rounds = None if rounds is None else rounds - 1
                self.step(events, _WAIT_S)
        finally:
            events.close()
            self.close()

    def close(self) -> None:
        """Follow no more."""
        self._touch.close()

    def step(self, events: Socket, timeout_s: float) -> None:
        """Take over what the kernel says within ``timeout_s``, and what is due."""
        if self._pending:
            timeout_s = max(self._pace.rest_s(), self._pace.quiet_s(self._changes))
        ready, _, _ = select.select([events], [], [], timeout_s)
        data = events.receive() if ready else b""
        if data is None:
            self.counts.overruns += 1
            if not self._lost:
                self._put_off_resync()
                self._say("messages of the kernel were lost (its buffer was full): reading everything again")
            self._lost = True
        elif data:
            for message in self._reader.read_many(data):
                self.counts.messages += len(message.keys) if isinstance(message, Bulk) else 1
                for side in self._sides:
                    self.counts.moved += side.take(message, self._say)
        if self._lost and self._due("resync", _RESYNC_S):
            self.resync()
        for side in self._sides:
            self.counts.moved += side.move(self._say)
        if not (self._pending and self._pace.rest_s(self._changes if data else 0)):
            self._apply()
        self._regular(idle=not ready)

    @property
    def _pending(self) -> bool:
        return any(rib.pending for rib in self._ribs)

    @property
    def _changes(self) -> int:
        return sum(len(rib.changed) for rib in self._ribs)

    @property
    def _ribs(self) -> tuple[Rib, ...]:
        return tuple(side.rib for side in self._sides)

    def _apply(self) -> None:
        try:
            if not self._pending and self._table.is_current() and not self._waiting:
                return
            with self._pace.writing(self._changes):
                self._write()
            self._waiting = ""
        except Mismatch as error:
            if not self._waiting:
                self._say(f"waiting: {error}")
            self._waiting = str(error)

    def _write(self) -> None:
        changed = [side.derive() for side in self._sides]
        if not self._table.is_current():
            self._table.renew(self._ribs)
            self.counts.renewed += 1
            gc.collect()
        else:
            self.counts.updates += self._table.update(self._ribs, changed)

    def resync(self) -> None:
        """Read everything again. What was said meanwhile is taken afterwards, which does no harm."""
        began = time.monotonic()
        for side, fresh in zip(self._sides, listed_ribs(self._table.ports, self._reader), strict=True):
            side.begin(fresh)
        self._lost = False
        self.counts.resyncs += 1
        self._apply()
        self._reading_s = time.monotonic() - began
        self._put_off_resync()

    def _put_off_resync(self) -> None:
        """While a table is filled, reading everything again and again would take all the time, and lose more."""
        wait = min(_RESYNC_MOST_S, max(_RESYNC_S, self._reading_s))
        self._next["resync"] = max(self._next["resync"], time.monotonic() + wait)

    def _regular(self, *, idle: bool) -> None:
        if self._due("touch", _TOUCH_S):
            self._keep_neighbors()
        if idle:
            self._table_reclaim()
        self._audit()
        if self._due("status", _STATUS_S):
            began = time.monotonic()
            self.write_status()
            self._next["status"] += _STATUS_SHARE * (time.monotonic() - began)

    def _table_reclaim(self) -> None:
        try:
            if not self._waiting and self._table.is_current():
                self._table.reclaim()
        except Mismatch:
            return

    def _keep_neighbors(self) -> None:
        """Next hops are asked for, and confirmed: the kernel does not see the packets that go to them."""
        indexes = {
            self._table.ports.external[link.name]: link.index
            for link in self._ribs[0].links.values()
            if link.name in self._table.ports.external
        }
        fixed = set().union(*(rib.fixed for rib in self._ribs))
        for hop in set[Near]().union(*(rib.near_hops() for rib in self._ribs)):
            if hop.port in indexes and (indexes[hop.port], hop.address) not in fixed:
                try:
                    touch_neighbor(self._touch, indexes[hop.port], hop.address)
                except OSError:
                    continue

    def _audit(self) -> None:
        """Compare kernel and data plane by a process of its own; what it finds is repaired, and said."""
        if not self._audits:
            return
        if self._child is None:
            if time.monotonic() >= self._next["audit"] or any(rib.doubts for rib in self._ribs):
                for rib in self._ribs:
                    rib.doubts = 0
                self._child_began = time.monotonic()
                self._child = _audit_process()
            return
        if self._child.poll() is None:
            return
        text = self._child.stdout.read() if self._child.stdout else ""
        took, self._child = time.monotonic() - self._child_began, None
        self._next["audit"] = time.monotonic() + max(_AUDIT_S, _AUDIT_SHARE * took)
        self.counts.audits += 1
        try:
            count = int(json.loads(text)["differences"])
        except (ValueError, KeyError):
            return
        if count:
            self.counts.repaired += count
            self._lost = True
            self._say(f"the audit found {count} differences between the kernel's table and the data plane's: repairing")

    def _due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._next[what]:
            return False
        self._next[what] = now + every_s
        return True

    def status(self) -> dict[str, Any]:
        """As it is in the status file."""
        self.counts.skipped = self._reader.skipped
        count, listed = _unresolved(self._ribs)
        protocols: dict[str, int] = {}
        by_family: dict[int, int] = {}
        for rib in self._ribs:
            for route, number in distinct(rib):
                protocols[str(route.protocol)] = protocols.get(str(route.protocol), 0) + number
                by_family[rib.family] = by_family.get(rib.family, 0) + number
        counts = self.counts
        found = {
            "schema_version": 1,
            "pid": os.getpid(),
            "routes": sum(protocols.values()),
            "ipv6_routes": by_family.get(6, 0),
            "protocols": protocols,
            "unresolved": count,
            "unresolved_routes": [{"prefix": r.prefix, "route": r.route, "reason": r.reason} for r in listed],
            "held": sum(len(side.held) for side in self._sides),
            "waiting": self._waiting or None,
            "messages": counts.messages,
            "updates": counts.updates,
            "renewed": counts.renewed,
            "overruns": counts.overruns,
            "resyncs": counts.resyncs,
            "audits": counts.audits,
            "repaired": counts.repaired,
            "moved": counts.moved,
            "skipped": counts.skipped,
        }
        return found | ({} if self._waiting else self._table.facts())

    def write_status(self) -> None:
        """For ``rbops-node status``; only where something happened since."""
        mark = (self.counts.messages, self.counts.updates, self.counts.audits, self.counts.resyncs, self._waiting)
        if mark == getattr(self, "_mark", None):
            return
        self._mark = mark
        write_whole(self._status_path, json.dumps(self.status()).encode())


def read_status(path: Path = STATUS) -> dict[str, Any] | None:
    """What a follower that runs says of itself; None where none does."""
    return read_running(path)


def _audit_process() -> subprocess.Popen[str]:
    command = [sys.executable, "-I", sys.argv[0], "fib", "--audit", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=_nice)  # noqa: PLW1509 - one thread


def _nice() -> None:
    os.nice(19)


def _unresolved(ribs: Iterable[Rib]) -> tuple[int, list[Unresolved]]:
    found = [unresolved(rib) for rib in ribs]
    return sum(count for count, _ in found), [one for _, listed in found for one in listed]


def audit(table: RouteTable) -> dict[str, Any]:
    """Kernel and data plane compared, address by address. A difference counts if it outlives what is in flight."""
    count, ribs = 0, tuple[Rib, ...]()
    listed: list[dict[str, str]] = []
    for attempt in range(3):
        if attempt:
            time.sleep(_IN_FLIGHT_S)
        ribs = read_ribs(table.ports)
        before = {entry["addresses"] for entry in listed}
        count, now = table.compare(ribs, _MOST)
        listed = [entry for entry in now if not attempt or entry["addresses"] in before]
        if count <= _MOST:
            count = len(listed)
        if not count:
            break
    unresolved, reasons = _unresolved(ribs)
    return {
        "routes": sum(len(rib.routes) for rib in ribs),
        "ipv6_routes": sum(len(rib.routes) for rib in ribs[1:]),
        "differences": count,
        "differing": listed[:100],
        "unresolved": unresolved,
        "unresolved_routes": [{"prefix": r.prefix, "route": r.route, "reason": r.reason} for r in reasons],
    }


def trace(table: RouteTable, address: IPv4Address | IPv6Address) -> dict[str, Any]:
    """Which route of the kernel decides about an address, what it means, and what the data plane does."""
    get = table.get if isinstance(address, IPv4Address) else table.get6
    result: dict[str, Any] = {"address": str(address), "prefix": None, "route": None, "hop": "no route"}
    for rib in read_ribs(table.ports):
        found = rib.longest(int(address)) if rib.family == address.version else None
        if found is not None:
            key, hop = found
            result |= {"prefix": rib.prefix(key), "route": route_text(rib, key), "hop": text_of(hop)}
    return {**result, "data_plane": get(int(address))}


def changes(table: RouteTable) -> Iterator[str]:
    """A line for every prefix whose way changes, until killed."""
    ipv6 = table.ports.ipv6
    events, reader = Socket(ipv6=ipv6), Reader(TABLE, ipv6=ipv6)
    ribs = read_ribs(table.ports)
    known: list[dict[int, Hop | None]] = [{key: rib.hop(key) for key in rib.all()} for rib in ribs]
    while True:
        select.select([events], [], [])
        data = events.receive()
        if data is None:
            yield "messages were lost: some changes are not shown"
            ribs = read_ribs(table.ports)
            for rib, had in zip(ribs, known, strict=True):
                rib.changed |= rib.all() | had.keys()
        for message in reader.read(data or b""):
            for rib in ribs:
                rib.take(message)
        for rib, had in zip(ribs, known, strict=True):
            rib.drop_lost(keep=lambda _: False)
            for hop, keys in rib.derive():
                for key in keys:
                    if had.get(key) != hop:
                        had[key] = hop
                        yield f"{rib.prefix(key)}: {text_of(hop)}"
