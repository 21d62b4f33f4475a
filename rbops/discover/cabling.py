"""What was heard, against the plan: every port with the link it is planned for and the one it is on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rbops.discover.listen import End, Heard
from rbops.node.facts import Facts, NicFacts
from rbops.plan import ClusterPlan, Port

__all__ = ["Cabling", "Seat", "State", "Verdict", "cables", "compare", "seats_of"]

State = Literal[
    "as planned", "elsewhere", "one way", "several", "no carrier", "no frame", "no device", "nothing", "neighbour"
]
"""``nothing`` and ``neighbour`` are an external port's: no server of the router, or another external port, is there."""

_FINE = frozenset({"as planned", "nothing", "neighbour"})


@dataclass(frozen=True, slots=True)
class Seat:
    """A planned port and the device it is on; ``end`` None: no device of the server is meant, or several."""

    server: str
    port: Port
    end: End | None

    @property
    def name(self) -> str:
        """``n0:int1``."""
        return f"{self.server}:{self.port.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One port: ``planned`` and ``found`` are ends by their planned names, ``text`` says what is wrong."""

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
    """Every planned port's verdict; ``spare`` are cables between devices that are no planned port."""

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


def seats_of(plan: ClusterPlan, facts: Mapping[str, Facts]) -> tuple[Seat, ...]:
    """The planned ports of the servers in ``facts``, each with the device that the spec's selector means."""
    return tuple(
        Seat(server.name, port, _end(server.name, port, facts[server.name].nics))
        for server in plan.servers
        if server.name in facts
        for port in server.ports
    )


def _end(server: str, port: Port, nics: Iterable[NicFacts]) -> End | None:
    """As rbops-node selects: exactly one device has the selector's name, PCI address or MAC."""
    pick = port.selector
    if pick.pci or pick.mac:
        found = [nic for nic in nics if (nic.pci == pick.pci if pick.pci else nic.mac == pick.mac)]
    else:
        found = [nic for nic in nics if nic.device == (pick.name or port.name)]
    return End(server, found[0].device) if len(found) == 1 else None


def cables(heard: Mapping[End, Heard]) -> dict[End, End]:
    """The ends that heard each other and nobody else, both ways round."""
    only = {end: told.origins[0] for end, told in heard.items() if len(told.origins) == 1}
    return {end: other for end, other in only.items() if only.get(other) == end and other != end}


def compare(seats: Sequence[Seat], heard: Mapping[End, Heard]) -> Cabling:
    """Every port's verdict, in the order of ``seats``; peers that were not asked are left out."""
    names = {seat.end: seat.name for seat in seats if seat.end is not None}
    asked = {seat.server for seat in seats}
    by_name = {seat.name: seat for seat in seats}
    verdicts = [
        _external(seat, heard, names)
        if seat.port.peer is None
        else _internal(seat, by_name[seat.port.peer], heard, names)
        for seat in seats
        if seat.port.peer is None or seat.port.peer.partition(":")[0] in asked
    ]
    spare = [
        f"{_label(a, names)} - {_label(b, names)}"
        for a, b in sorted(cables(heard).items())
        if a < b and a not in names and b not in names
    ]
    return Cabling(tuple(verdicts), tuple(spare))


def _label(end: End, names: Mapping[End, str]) -> str:
    return names.get(end, f"{end.server}:{end.device}")


def _verdict(seat: Seat, state: State, text: str = "", found: Sequence[str] = ()) -> Verdict:
    device = seat.end.device if seat.end else None
    return Verdict(seat.server, seat.port.name, device, seat.port.peer, tuple(found), state, text)


def _internal(seat: Seat, peer: Seat, heard: Mapping[End, Heard], names: Mapping[End, str]) -> Verdict:
    if seat.end is None or seat.end not in heard:
        return _verdict(seat, "no device", f"{seat.name}: the server has no such device, planned {peer.name}")
    told = heard[seat.end]
    if not told.origins:
        return _silent(seat, told, heard, names)
    found = [_label(end, names) for end in told.origins]
    if len(found) > 1:
        text = f"{seat.name} hears {', '.join(found)}: there is a switch in between, planned {peer.name} alone"
        return _verdict(seat, "several", text, found)
    other = told.origins[0]
    if other == peer.end:
        back = seat.end in heard[other].origins
        text = "" if back else f"{seat.name} hears {found[0]}, which does not hear it"
        return _verdict(seat, "as planned" if back else "one way", text, found)
    if other.server != peer.server:
        return _verdict(seat, "elsewhere", f"{seat.name} is on {other.server}, planned {peer.server}", found)
    return _verdict(seat, "elsewhere", f"{seat.name} is on {found[0]}, planned {peer.name}", found)


def _silent(seat: Seat, told: Heard, heard: Mapping[End, Heard], names: Mapping[End, str]) -> Verdict:
    by = [_label(end, names) for end, other in sorted(heard.items()) if seat.end in other.origins]
    if by:
        return _verdict(seat, "one way", f"{seat.name} hears nothing, and is heard by {', '.join(by)}", by)
    if not told.carrier:
        return _verdict(seat, "no carrier", f"{seat.name} has no carrier, planned {seat.port.peer}")
    if told.error:
        return _verdict(seat, "no frame", f"{seat.name}: the device does not send: {told.error}")
    return _verdict(seat, "no frame", f"{seat.name} has a carrier and no frame comes in, planned {seat.port.peer}")


def _external(seat: Seat, heard: Mapping[End, Heard], names: Mapping[End, str]) -> Verdict:
    """Outside the router nothing is planned: only an internal port of it there is wrong."""
    if seat.end is None or seat.end not in heard:
        return _verdict(seat, "no device", f"{seat.name}: the server has no such device")
    told = heard[seat.end]
    found = [_label(end, names) for end in told.origins]
    inside = [name for name in found if not name.partition(":")[2].startswith("ext")]
    if inside:
        return _verdict(seat, "elsewhere", f"{seat.name} is on {', '.join(inside)}, planned outside", found)
    if found:
        return _verdict(seat, "neighbour", f"{seat.name} sees {', '.join(found)}", found)
    return _verdict(seat, "nothing", "" if told.carrier else f"{seat.name} has no carrier")
