"""The cable sheet: a row for each cable with both ends, for whoever pulls the cables and prints the labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from rbops.plan import Port
from rbops.planner import Planning
from rbops.report.plan_ports import Place, places

__all__ = ["sheet"]

_End = tuple[str, str, Place]
"""``server:port``, where the server stands, the port's place in it."""

_COLUMNS = ("server", "rack", "port", "card", "card_port", "pci", "mac", "device")
_HEADER = (
    "cable",
    "rate_gbps",
    *(f"a_{name}" for name in _COLUMNS),
    *(f"b_{name}" for name in _COLUMNS),
    "label_a",
    "label_b",
)


def sheet(planning: Planning) -> str:
    """CSV: the internal cables in the plan's order, then the external ports, whose far end is not the router's.

    Cards and their ports count from 0 in the hardware description's order. Both labels name the near end first.
    """
    ends = dict(_ends(planning))
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_HEADER)
    for number, link in enumerate(planning.plan.links, 1):
        rows.writerow(_row(str(number), link.rate_bps, (link.a, *ends[link.a]), (link.b, *ends[link.b])))
    for name, (rack, place) in ends.items():
        if place.port.kind == "external":
            rows.writerow(_row(f"ext{place.port.id}", place.port.rate_bps, (name, rack, place), None))
    return out.getvalue()


def _ends(planning: Planning) -> Iterator[tuple[str, tuple[str, Place]]]:
    """``server:port``, the server's place in the rack and the port's in it, of every port in the order of servers."""
    kinds = {index: kind for kind in planning.built.kinds for index in kind.servers}
    for server in planning.plan.servers:
        host = planning.spec.hosts.get(server.name)
        for place in places(planning, kinds[server.index], server):
            yield f"{server.name}:{place.port.name}", ((host and host.rack) or "", place)


def _row(cable: str, rate_bps: int, near: _End, far: _End | None) -> tuple[str, ...]:
    rate = f"{rate_bps / 1e9:g}"
    a = near[0]
    b = far[0] if far else " ".join(near[2].port.addresses)
    both = (f"{cable} {a} > {b} {rate}G", f"{cable} {b} > {a} {rate}G" if far else "")
    return (cable, rate, *_cells(*near), *(_cells(*far) if far else ("",) * len(_COLUMNS)), *both)


def _cells(name: str, rack: str, place: Place) -> tuple[str, ...]:
    port: Port = place.port
    at = place.card_port
    card = ("", "") if at is None else (str(at.slot), str(at.position))
    picked = port.selector
    device = picked.name or ("" if picked.pci or picked.mac else port.name)
    return (name.partition(":")[0], rack, port.name, *card, picked.pci or "", picked.mac or "", device)
