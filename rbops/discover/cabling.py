"""The received frames compared with the plan: every port's planned link and the one it is on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rbops.discover.listen import End, Received
from rbops.node.facts import Facts, NicFacts
from rbops.plan import ClusterPlan, Port

__all__ = ["Cabling", "PortAssignment", "State", "Verdict", "assignments_of", "cables", "compare"]

State = Literal[
    "as planned", "elsewhere", "one way", "several", "no carrier", "no frame", "no device", "nothing", "neighbour"
]
"""What may be at the far end of an external port: nothing that belongs to the router, or another external port."""

_FINE = frozenset({"as planned", "nothing", "neighbour"})


@dataclass(frozen=True, slots=True)
class PortAssignment:
    """A planned port and the device it is on; ``end`` None: its selector matches no device, or several."""

    server: str
    port: Port
    end: End | None

    @property
    def name(self) -> str:
        """``n0:int1``."""
        return f"{self.server}:{self.port.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One port: ``planned`` and ``found`` are ends by their planned names, ``text`` is the difference."""

    server: str
    port: str
    device: str | None
    planned: str | None
    found: tuple[str, ...]
    state: State
    text: str

    @property
    def fine(self) -> bool:
        """Whether the port is cabled as planned."""
        return self.state in _FINE


@dataclass(frozen=True, slots=True)
class Cabling:
    """Every planned port's verdict; ``spare`` are cables between other devices."""

    verdicts: tuple[Verdict, ...]
    spare: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The ports that are not cabled as planned."""
        return tuple(verdict for verdict in self.verdicts if not verdict.fine)

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        ports = [asdict(verdict) for verdict in self.verdicts]
        return {"as_planned": not self.wrong, "ports": ports, "spare": list(self.spare)}


def assignments_of(plan: ClusterPlan, facts: Mapping[str, Facts]) -> tuple[PortAssignment, ...]:
    """The planned ports of the servers in ``facts``, each with the device that its selector matches."""
    return tuple(
        PortAssignment(server.name, port, _end(server.name, port, facts[server.name].nics))
        for server in plan.servers
        if server.name in facts
        for port in server.ports
    )


def _end(server: str, port: Port, nics: Iterable[NicFacts]) -> End | None:
    """As rbops-node selects: exactly one device has the name, PCI address or MAC."""
    pick = port.selector
    if pick.pci or pick.mac:
        found = [nic for nic in nics if (nic.pci == pick.pci if pick.pci else nic.mac == pick.mac)]
    else:
        found = [nic for nic in nics if nic.device == (pick.name or port.name)]
    return End(server, found[0].device) if len(found) == 1 else None


def cables(received: Mapping[End, Received]) -> dict[End, End]:
    """The ends that received frames of each other and of no other."""
    only = {end: one.origins[0] for end, one in received.items() if len(one.origins) == 1}
    return {end: other for end, other in only.items() if only.get(other) == end and other != end}


def compare(assignments: Sequence[PortAssignment], received: Mapping[End, Received]) -> Cabling:
    """Every port's verdict, in the order of ``assignments``; without those whose peer was not tested."""
    names = {assignment.end: assignment.name for assignment in assignments if assignment.end is not None}
    asked = {assignment.server for assignment in assignments}
    by_name = {assignment.name: assignment for assignment in assignments}
    verdicts = [
        _external(assignment, received, names)
        if assignment.port.peer is None
        else _internal(assignment, by_name[assignment.port.peer], received, names)
        for assignment in assignments
        if assignment.port.peer is None or assignment.port.peer.partition(":")[0] in asked
    ]
    spare = [
        f"{_label(a, names)} - {_label(b, names)}"
        for a, b in sorted(cables(received).items())
        if a < b and a not in names and b not in names
    ]
    return Cabling(tuple(verdicts), tuple(spare))


def _label(end: End, names: Mapping[End, str]) -> str:
    return names.get(end, f"{end.server}:{end.device}")


def _verdict(assignment: PortAssignment, state: State, text: str = "", found: Sequence[str] = ()) -> Verdict:
    device = assignment.end.device if assignment.end else None
    return Verdict(assignment.server, assignment.port.name, device, assignment.port.peer, tuple(found), state, text)


def _internal(
    assignment: PortAssignment, peer: PortAssignment, received: Mapping[End, Received], names: Mapping[End, str]
) -> Verdict:
    if assignment.end is None or assignment.end not in received:
        return _verdict(
            assignment, "no device", f"{assignment.name}: the server has no such device, expected {peer.name}"
        )
    own = received[assignment.end]
    if not own.origins:
        return _silent(assignment, own, received, names)
    found = [_label(end, names) for end in own.origins]
    if len(found) > 1:
        text = f"{assignment.name} receives from {', '.join(found)} over a switch, expected {peer.name} alone"
        return _verdict(assignment, "several", text, found)
    other = own.origins[0]
    if other == peer.end:
        back = assignment.end in received[other].origins
        text = "" if back else f"{assignment.name} receives from {found[0]}, which does not receive from it"
        return _verdict(assignment, "as planned" if back else "one way", text, found)
    if other.server != peer.server:
        return _verdict(
            assignment, "elsewhere", f"{assignment.name} is on {other.server}, expected {peer.server}", found
        )
    return _verdict(assignment, "elsewhere", f"{assignment.name} is on {found[0]}, expected {peer.name}", found)


def _silent(
    assignment: PortAssignment, own: Received, received: Mapping[End, Received], names: Mapping[End, str]
) -> Verdict:
    by = [_label(end, names) for end, other in sorted(received.items()) if assignment.end in other.origins]
    if by:
        return _verdict(
            assignment, "one way", f"{assignment.name} receives nothing, its frames arrive at {', '.join(by)}", by
        )
    if not own.carrier:
        return _verdict(assignment, "no carrier", f"{assignment.name} has no carrier, expected {assignment.port.peer}")
    if own.error:
        return _verdict(assignment, "no frame", f"{assignment.name}: the device does not send: {own.error}")
    return _verdict(
        assignment,
        "no frame",
        f"{assignment.name} has a carrier but receives no frame, expected {assignment.port.peer}",
    )


def _external(assignment: PortAssignment, received: Mapping[End, Received], names: Mapping[End, str]) -> Verdict:
    """No peer is planned: only an internal port at the other end is wrong."""
    if assignment.end is None or assignment.end not in received:
        return _verdict(assignment, "no device", f"{assignment.name}: the server has no such device")
    own = received[assignment.end]
    found = [_label(end, names) for end in own.origins]
    inside = [name for name in found if not name.partition(":")[2].startswith("ext")]
    if inside:
        return _verdict(
            assignment, "elsewhere", f"{assignment.name} is on {', '.join(inside)}, expected no internal port", found
        )
    if found:
        return _verdict(assignment, "neighbour", f"{assignment.name} receives from {', '.join(found)}", found)
    return _verdict(assignment, "nothing", "" if own.carrier else f"{assignment.name} has no carrier")
