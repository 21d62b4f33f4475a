"""The devices that planned ports must be on for the cabling that was found, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rbops.discover.cabling import Seat, cables
from rbops.discover.listen import End, Heard
from rbops.errors import Mismatch
from rbops.hardware.facts import data_nics
from rbops.node.facts import Facts, NicFacts
from rbops.spec.edit import Change

__all__ = ["Mended", "mend", "selector"]

_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Mended:
    """``moves`` are the ports that get another device than before, ``notes`` what could not be told from frames."""

    moves: tuple[tuple[Seat, End], ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    """What has been decided so far: port name -> end."""

    chosen: dict[str, End] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def mend(seats: Sequence[Seat], heard: Mapping[End, Heard], facts: Mapping[str, Facts]) -> Mended:
    """Which device is which planned port, by the cables that were found; ports that are right stay as they are.

    Raises Mismatch (3) with every reason when the cables do not make the planned topology.
    """
    found = cables(heard)
    work = _Work()
    for pair, planned in _pairs(seats).items():
        _join(pair, planned, found, work)
    for server in dict.fromkeys(seat.server for seat in seats):
        own = [seat for seat in seats if seat.server == server and seat.port.peer is None]
        _outside(server, own, heard, facts[server], work)
    if work.reasons:
        raise Mismatch(
            "no assignment of devices to ports gives the planned topology:\n"
            + "\n".join(f"  {reason}" for reason in work.reasons),
            hint="change the cables",
        )
    moves = tuple((seat, end) for seat in seats if (end := work.chosen.get(seat.name)) and end != seat.end)
    wrong = [text for seat, end in moves for text in _unlike(seat, end, facts)]
    if wrong:
        raise Mismatch("\n".join(wrong), hint="change the cables, or the planned hardware")
    changes = tuple(
        Change(("hosts", seat.server, "ports", seat.port.name), selector(seat, end, facts[seat.server]))
        for seat, end in moves
    )
    return Mended(moves, changes, tuple(work.notes))


def selector(seat: Seat, end: End, facts: Facts) -> dict[str, str]:
    """The device as the spec named the port before; a port it did not name by PCI address, else MAC, else name."""
    nic = next(nic for nic in facts.nics if nic.device == end.device)
    ways = {
        "pci": nic.pci if _only(facts.nics, "pci", nic) else None,
        "mac": nic.mac if _only(facts.nics, "mac", nic) else None,
        "name": nic.device,
    }
    before = seat.port.selector
    preferred = [way for way in ways if getattr(before, way) is not None]
    # A veth's MAC is made up anew with the device; its name is what is known of it.
    order = [*preferred, *(["name"] if nic.driver == "veth" else []), *ways]
    way, value = next((way, value) for way in order if (value := ways[way]) is not None)
    return {way: value}


def _only(nics: Sequence[NicFacts], way: str, nic: NicFacts) -> bool:
    return [getattr(other, way) for other in nics].count(getattr(nic, way)) == 1


def _pairs(seats: Sequence[Seat]) -> dict[_Pair, list[tuple[Seat, Seat]]]:
    """The planned cables by the two servers they join, the ends in that order."""
    by_name = {seat.name: seat for seat in seats}
    found: dict[_Pair, list[tuple[Seat, Seat]]] = {}
    for seat in seats:
        peer = by_name.get(seat.port.peer or "")
        if peer is not None and seat.server < peer.server:
            found.setdefault((seat.server, peer.server), []).append((seat, peer))
    return found


def _join(pair: _Pair, planned: Sequence[tuple[Seat, Seat]], found: Mapping[End, End], work: _Work) -> None:
    """Give each planned cable between two servers one of those found: its own where that is among them."""
    there = sorted((a, b) for a, b in found.items() if (a.server, b.server) == pair)
    if len(there) < len(planned):
        cable = "cable" if len(planned) == 1 else "cables"
        work.reasons.append(f"{pair[0]} and {pair[1]} are to be joined by {len(planned)} {cable}, found {len(there)}")
        return
    rest = []
    for left, right in planned:
        own = next(((a, b) for a, b in there if (a, b) == (left.end, right.end)), None)
        if own is not None:
            there.remove(own)
            work.chosen[left.name], work.chosen[right.name] = own
        else:
            rest.append((left, right))
    for left, right in rest:
        cable_ends = next((ends for ends in there if left.end == ends[0] or right.end == ends[1]), there[0])
        there.remove(cable_ends)
        work.chosen[left.name], work.chosen[right.name] = cable_ends


def _outside(server: str, seats: Sequence[Seat], heard: Mapping[End, Heard], facts: Facts, work: _Work) -> None:
    """External ports keep their devices unless a cable of the router turned out to be there."""
    taken = {end for end in work.chosen.values() if end.server == server}
    kept = {seat.end for seat in seats if seat.end is not None and seat.end not in taken}
    homeless = [seat for seat in seats if seat.end is None or seat.end in taken]
    free = [
        nic
        for nic in data_nics(facts)
        if (end := End(server, nic.device)) in heard and end not in taken and end not in kept and not heard[end].origins
    ]
    if not homeless:
        return
    if len(free) < len(homeless):
        names = ", ".join(seat.port.name for seat in homeless)
        work.reasons.append(f"{server}: no device is left for {names}: all others are cabled to servers of the router")
        return
    if len(free) > 1 and any(seat.end is not None for seat in homeless):
        devices = ", ".join(nic.device for nic in free)
        lost = ", ".join(seat.port.name for seat in homeless)
        work.reasons.append(f"{server}: {lost} is not where it was, and nothing tells which of {devices} it is now")
        return
    free.sort(key=lambda nic: (not heard[End(server, nic.device)].carrier, nic.pci or "", nic.device))
    for seat, nic in zip(homeless, free, strict=False):
        work.chosen[seat.name] = End(server, nic.device)
    if len(free) > 1:
        given = ", ".join(f"{seat.port.name} {nic.device}" for seat, nic in zip(homeless, free, strict=False))
        work.notes.append(
            f"{server}: external ports were given in order, those with a carrier first: {given}; check them"
        )


def _unlike(seat: Seat, end: End, facts: Mapping[str, Facts]) -> Iterator[str]:
    """Queues and steering are planned for a driver: a port cannot move to another kind of NIC."""
    driver = next(nic.driver for nic in facts[seat.server].nics if nic.device == end.device)
    if driver and seat.port.driver and driver != seat.port.driver:
        yield f"{seat.name} would be {end.device} with driver {driver}, planned for {seat.port.driver}"
