"""The live view of ``rbops status --watch``, made of :mod:`rbops.report.live`'s rates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rbops.plan import ClusterPlan
from rbops.report.live import Rates
from rbops.report.tables import Block, Cell, Styled, Table
from rbops.report.words import gbps

__all__ = ["PARTS", "live_blocks"]

PARTS = ("servers", "ports", "cables", "paths", "cores", "queues", "drops", "sessions")
"""What ``--show`` chooses from."""

_FULL = 0.95
_SERVERS = ("server", "state", "in, packets/s", "from the fabric", "dropped", "to the kernel", "cables dead", "drained")
_PORTS = ("port", "server", "in, packets/s", "in", "of rate", "out, packets/s", "out", "of rate")
_CABLES = ("from", "to", "packets/s", "rate", "of rate")
_PATHS = ("from", "to", "packets/s", "direct", "over others")
_CORES = ("server", "core", "packets/s", "dropped", "to the kernel", "busy", "in softirqs")
_QUEUES = ("server", "port", "queue", "packets/s", "interrupts on cores")
_DROPS = ("server", "what", "reason", "packets/s", "in all")
_SESSIONS = ("server", "session", "with", "state", "since", "accepted", "announced")


def live_blocks(plan: ClusterPlan, found: Rates, at: str, parts: Collection[str] = PARTS) -> Iterator[Block]:
    """Tables of those ``parts`` that have rows; ``at`` is the time of day, for the first line."""
    external = [row for row in found["ports"] if row["kind"] == "external"]
    into, out = (sum(row[f"{way}_pps"] for row in external) for way in ("rx", "tx"))
    bits = [sum(row[f"{way}_bps"] for row in external) for way in ("rx", "tx")]
    yield f"{plan.name}  {at}  in {into:,.0f} packets/s, {gbps(bits[0])}  out {out:,.0f} packets/s, {gbps(bits[1])}"
    tables = {
        "servers": Table("Servers", _SERVERS, tuple(map(_server, found["servers"]))),
        "ports": Table("External ports", _PORTS, tuple(_port(row) for row in external)),
        "cables": Table("Cables", _CABLES, tuple(_cable(row) for row in found["ports"] if row["kind"] == "internal")),
        "paths": Table("Paths", _PATHS, tuple(map(_path, found["paths"]))),
        "cores": Table("Cores", _CORES, tuple(map(_core, found["cores"]))),
        "queues": Table("Queues", _QUEUES, tuple(map(_queue, found["queues"]))),
        "drops": Table("Dropped, and given to the kernel", _DROPS, tuple(map(_reason, found["reasons"]))),
        "sessions": Table("Sessions", _SESSIONS, tuple(map(_session, found["sessions"]))),
    }
    yield from (table for part, table in tables.items() if part in parts and table.rows)


def _server(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    good = row["state"] == "forwards"
    state = row["state"] + (", change not confirmed" if row.get("transaction") else "")
    if row.get("error"):
        state += f": {row['error'].splitlines()[0]}"
    dead = ", ".join(row.get("dead", ()))
    return (
        row["server"],
        Styled(state, "good" if good and not row.get("transaction") else "bad"),
        _number(row.get("received_pps")),
        _number(row.get("fabric_pps")),
        _number(row.get("dropped_pps")),
        _number(row.get("punted_pps")),
        Styled(dead, "bad") if dead else "-",
        ", ".join(row.get("drained", ())) or "-",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _share(value: float | None) -> Cell:
    if value is None:
        return "-"
    text = f"{value:.1%}"
    return Styled(text, "bad") if value >= _FULL else text


def _port(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    ways = [(_number(row[f"{way}_pps"]), gbps(row[f"{way}_bps"]), _share(row[f"{way}_share"])) for way in ("rx", "tx")]
    return str(row["id"]), f"{row['server']}:{row['port']}", *ways[0], *ways[1]


def _cable(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    """One direction: what an internal port sends."""
    sent = _number(row["tx_pps"]), gbps(row["tx_bps"]), _share(row["tx_share"])
    return f"{row['server']}:{row['port']}", row["peer"] or "-", *sent


def _path(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    shares = row["shares"] or {}
    others = ", ".join(f"{via} {share:.0%}" for via, share in shares.items() if via != "direct" and share)
    direct = f"{shares['direct']:.0%}" if "direct" in shares else "-"
    return row["server"], row["to"], _number(row["pps"]), direct, others or "-"


def _core(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    times = (f"{row[key]:.0%}" if row[key] is not None else "-" for key in ("busy", "softirq"))
    counts = (_number(row[key]) for key in ("received_pps", "dropped_pps", "punted_pps"))
    return row["server"], str(row["core"]), *counts, *times


def _queue(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    cores = ", ".join(map(str, row["cores"])) or "-"
    return row["server"], row["port"], str(row["queue"]), _number(row["rx_pps"]), cores


def _reason(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    what = "dropped" if row["what"] == "dropped" else "to the kernel"
    return row["server"], what, row["reason"], _number(row["pps"]), f"{row['total']:,}"


def _session(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    state = str(row["info"] or ("up" if row["up"] else "down"))
    near = str(row.get("description") or row.get("neighbor") or "-")
    shown: Cell = state if row["up"] else Styled(state, "bad")
    counts = ("-" if row[key] is None else f"{row[key]:,}" for key in ("imported", "exported"))
    return row["server"], str(row["name"]), near, shown, str(row["since"]), *counts
