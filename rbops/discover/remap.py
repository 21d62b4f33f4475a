"""Assigns planned ports to devices so that the found cabling is the planned one, or says why it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rbops.discover.cabling import PortAssignment, cables
from rbops.discover.listen import End, Received
from rbops.errors import Mismatch
from rbops.hardware.facts import data_nics
from rbops.node.facts import Facts, NicFacts
from rbops.spec.edit import Change

__all__ = ["Remapping", "remap", "selector"]

_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Remapping:
    """``moves`` are the ports that get another device than before, ``notes`` what frames cannot decide."""

    moves: tuple[tuple[PortAssignment, End], ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    """What has been decided so far: port name -> end."""

    chosen: dict[str, End] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def remap(
    assignments: Sequence[PortAssignment], received: Mapping[End, Received], facts: Mapping[str, Facts]
) -> Remapping:
    """The device of each planned port, by the cables that were found; ports that are right keep theirs.

    Raises Mismatch (3) with every reason when the cables do not make the planned topology.
    """
    found = cables(received)
    work = _Work()
    for pair, planned in _pairs(assignments).items():
        _join(pair, planned, found, work)
    for server in dict.fromkeys(assignment.server for assignment in assignments):
        own = [assignment for assignment in assignments if assignment.server == server and assignment.port.peer is None]
        _outside(server, own, received, facts[server], work)
    if work.reasons:
        raise Mismatch(
            "no assignment of devices to ports gives the planned topology:\n"
            + "\n".join(f"  {reason}" for reason in work.reasons),
            code="discover.cabling",
            hint="change the cables",
        )
    moves = tuple(
        (assignment, end)
        for assignment in assignments
        if (end := work.chosen.get(assignment.name)) and end != assignment.end
    )
    wrong = [text for assignment, end in moves for text in _unlike(assignment, end, facts)]
    if wrong:
        raise Mismatch("\n".join(wrong), code="discover.driver", hint="change the cables, or the planned hardware")
    changes = tuple(
        Change(
            ("hosts", assignment.server, "ports", assignment.port.name),
            selector(assignment, end, facts[assignment.server]),
        )
        for assignment, end in moves
    )
    return Remapping(moves, changes, tuple(work.notes))


def selector(assignment: PortAssignment, end: End, facts: Facts) -> dict[str, str]:
    """The device as the spec named the port before; a port it did not name by PCI address, else MAC, else name."""
    nic = next(nic for nic in facts.nics if nic.device == end.device)
    keys = {
        "pci": nic.pci if _only(facts.nics, "pci", nic) else None,
        "mac": nic.mac if _only(facts.nics, "mac", nic) else None,
        "name": nic.device,
    }
    before = assignment.port.selector
    preferred = [key for key in keys if getattr(before, key) is not None]
    # A veth gets another MAC each time it is made; only its name stays.
    order = [*preferred, *(["name"] if nic.driver == "veth" else []), *keys]
    key, value = next((key, value) for key in order if (value := keys[key]) is not None)
    return {key: value}


def _only(nics: Sequence[NicFacts], key: str, nic: NicFacts) -> bool:
    return [getattr(other, key) for other in nics].count(getattr(nic, key)) == 1


def _pairs(assignments: Sequence[PortAssignment]) -> dict[_Pair, list[tuple[PortAssignment, PortAssignment]]]:
    """The planned cables by the two servers they join, the ends in that order."""
    by_name = {assignment.name: assignment for assignment in assignments}
    found: dict[_Pair, list[tuple[PortAssignment, PortAssignment]]] = {}
    for assignment in assignments:
        peer = by_name.get(assignment.port.peer or "")
        if peer is not None and assignment.server < peer.server:
            found.setdefault((assignment.server, peer.server), []).append((assignment, peer))
    return found


def _join(
    pair: _Pair, planned: Sequence[tuple[PortAssignment, PortAssignment]], found: Mapping[End, End], work: _Work
) -> None:
    """Give each planned cable between two servers one of those found: its own where that is among them."""
    there = sorted((a, b) for a, b in found.items() if (a.server, b.server) == pair)
    if len(there) < len(planned):
        cable = "cable" if len(planned) == 1 else "cables"
        work.reasons.append(f"{pair[0]} and {pair[1]}: found {len(there)} of {len(planned)} planned {cable}")
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


def _outside(
    server: str, assignments: Sequence[PortAssignment], received: Mapping[End, Received], facts: Facts, work: _Work
) -> None:
    """External ports keep their devices unless a cable of the router is on them."""
    taken = {end for end in work.chosen.values() if end.server == server}
    kept = {assignment.end for assignment in assignments if assignment.end is not None and assignment.end not in taken}
    homeless = [assignment for assignment in assignments if assignment.end is None or assignment.end in taken]
    free = [
        nic
        for nic in data_nics(facts)
        if (end := End(server, nic.device)) in received
        and end not in taken
        and end not in kept
        and not received[end].origins
    ]
    if not homeless:
        return
    if len(free) < len(homeless):
        names = ", ".join(assignment.port.name for assignment in homeless)
        work.reasons.append(f"{server}: no device is left for {names}, all others are cabled to servers of the router")
        return
    if len(free) > 1 and any(assignment.end is not None for assignment in homeless):
        devices = ", ".join(nic.device for nic in free)
        lost = ", ".join(assignment.port.name for assignment in homeless)
        work.reasons.append(f"{server}: {lost} has another device now, which of {devices} is not known")
        return
    free.sort(key=lambda nic: (not received[End(server, nic.device)].carrier, nic.pci or "", nic.device))
    for assignment, nic in zip(homeless, free, strict=False):
        work.chosen[assignment.name] = End(server, nic.device)
    if len(free) > 1:
        given = ", ".join(
            f"{assignment.port.name} {nic.device}" for assignment, nic in zip(homeless, free, strict=False)
        )
        work.notes.append(
            f"{server}: external ports were assigned in order, those with a carrier first: {given}; check them"
        )


def _unlike(assignment: PortAssignment, end: End, facts: Mapping[str, Facts]) -> Iterator[str]:
    """Queues and steering are planned for a driver: a port cannot move to a NIC with another one."""
    driver = next(nic.driver for nic in facts[assignment.server].nics if nic.device == end.device)
    if driver and assignment.port.driver and driver != assignment.port.driver:
        yield f"{assignment.name} would be {end.device} with driver {driver}, planned for {assignment.port.driver}"
