"""Turns counts into named faults: what went wrong between which ports, and which server to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rbops.selftest.counters import Readings, Suspicion
from rbops.selftest.phases import Outcome
from rbops.selftest.result import Fault, Kind, Pair, Phase
from rbops.selftest.stations import Station
from rbops.selftest.traffic import ttl_of
from rbops.selftest.wire import Fault as Sample
from rbops.selftest.wire import Ident, mac_text

__all__ = ["Evidence", "name_faults"]

_MANY = 12
"""Faults of one kind that are named one by one; more are summed up."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A phase, and what helps to say who is at fault.

    ``ordered``: whether packets of a flow must arrive in order in this phase. ``readings`` is the
    difference of the servers' counters over the phase, empty when they were not read.
    """

    outcome: Outcome
    stations: Sequence[Station]
    ordered: bool
    suspicions: Sequence[Suspicion] = ()
    readings: Readings = field(default_factory=dict)

    @property
    def phase(self) -> Phase:
        """The phase itself."""
        return self.outcome.phase

    def owner(self, port: int) -> str:
        """The server that owns an external port."""
        return next(station.site.server for station in self.stations if station.site.port == port)

    def sample(self, port: int, kind: Sample) -> bytes | None:
        """The first wrong frame of a kind that arrived at a port."""
        index = next(station.index for station in self.stations if station.site.port == port)
        return self.outcome.samples.get(index, {}).get(kind)


def name_faults(evidence: Evidence) -> tuple[Fault, ...]:
    """Every fault of a phase, the gravest kinds first; packets that never arrived before packets that are wrong."""
    faults = [*_nothing(evidence), *_unsent(evidence), *_loss(evidence)]
    for pair in evidence.phase.pairs:
        faults += _pair_faults(evidence, pair)
    if not faults:
        faults += _disagreement(evidence)
    return tuple(_summed(faults, evidence.phase.name))


def _nothing(evidence: Evidence) -> list[Fault]:
    phase = evidence.phase
    if phase.sent == 0:
        return [Fault("nothing tested", "no packet was sent: nothing was tested", phase.name)]
    silent = [pair for pair in phase.pairs if pair.sent and pair.lost == pair.sent]
    if not silent:
        return []
    down = _down_servers(evidence, silent)
    faults = []
    for pair in silent:
        server = down.get(pair.source) or down.get(pair.destination)
        text = f"nothing arrived from port {pair.source} to port {pair.destination} ({pair.sent:,} sent)"
        if server:
            text += f": is the data plane of {server} up?"
        faults.append(
            Fault("nothing arrived", text + _because(evidence, server), phase.name, pair.lost, pair.source,
                  pair.destination, server)
        )  # fmt: skip
    return faults


def _down_servers(evidence: Evidence, silent: Sequence[Pair]) -> dict[int, str]:
    """Ports all of whose traffic vanished, by port: the server that owns them; with counters, those without any."""
    dead = {name for name, counted in evidence.readings.items() if counted.error}
    out = {}
    for station in evidence.stations:
        port, server = station.site.port, station.site.server
        touching = [pair for pair in evidence.phase.pairs if port in (pair.source, pair.destination)]
        if server in dead or all(pair in silent for pair in touching):
            out[port] = server
    if len(out) == len(evidence.stations) and dead and not all(server in dead for server in out.values()):
        return {port: server for port, server in out.items() if server in dead}
    return out


def _unsent(evidence: Evidence) -> list[Fault]:
    faults = []
    for source in evidence.phase.sources:
        if not source.unsent:
            continue
        server = evidence.owner(source.port)
        text = f"unsent {source.unsent:,} of {source.sent:,} at port {source.port}: the tester's own device did not take them"
        if source.unsent == source.sent:
            text += f"; the far end of the cable, on {server}, has neither an XDP program nor a link"
        faults.append(
            Fault("unsent", text, evidence.phase.name, source.unsent, source.port, None,
                  server if source.unsent == source.sent else None)
        )  # fmt: skip
    return faults


def _loss(evidence: Evidence) -> list[Fault]:
    phase = evidence.phase
    unsent = {source.port: source.unsent for source in phase.sources}
    faults = []
    for pair in phase.pairs:
        if not pair.lost or pair.lost == pair.sent:
            continue
        of_source = sum(other.lost for other in phase.pairs if other.source == pair.source)
        if of_source <= unsent.get(pair.source, 0):
            continue
        text = f"loss {pair.lost:,} of {pair.sent:,} from port {pair.source} to port {pair.destination}"
        if unsent.get(pair.source):
            text += f" (up to {unsent[pair.source]:,} of them the tester could not send)"
        server = _culprit(evidence, pair)
        faults.append(
            Fault(
                "loss", text + _because(evidence, server), phase.name, pair.lost, pair.source, pair.destination, server
            )
        )
    return faults


def _culprit(evidence: Evidence, pair: Pair) -> str | None:
    """The server whose counters miss packets; of several, one on the pair's way, then the one that misses most."""
    if not evidence.suspicions:
        return None
    ends = (evidence.owner(pair.source), evidence.owner(pair.destination))
    on_way = [suspicion.server for suspicion in evidence.suspicions if suspicion.server in ends]
    return on_way[0] if on_way else evidence.suspicions[0].server


def _because(evidence: Evidence, server: str | None) -> str:
    texts = [suspicion.text for suspicion in evidence.suspicions if suspicion.server == server]
    return f" [{'; '.join(texts[:2])}]" if texts else ""


def _pair_faults(evidence: Evidence, pair: Pair) -> list[Fault]:
    way = f"of {pair.sent:,} from port {pair.source} to port {pair.destination}"
    into, out = evidence.owner(pair.source), evidence.owner(pair.destination)
    found: list[tuple[Kind, int, str, str | None]] = []
    for port, count in pair.misdelivered:
        text = (
            f"misdelivered: {count:,} {way}: for port {pair.destination} came out of port {port}; "
            f"{into} chose the port: look at its routes"
        )
        found.append(("misdelivered", count, text, into))
    found += [
        ("duplicate", pair.duplicates, f"duplicate: {pair.duplicates:,} {way} arrived more than once", None),
        ("corrupt", pair.mangled, f"corrupt: {pair.mangled:,} {way}: the payload no longer says which packet it was", None),
        ("corrupt", pair.corrupt, f"corrupt: {pair.corrupt:,} {way}: payload or length changed", None),
        ("header", pair.header, f"header: {pair.header:,} {way}: {_changed(evidence, pair)}", None),
        ("TTL", pair.ttl, f"TTL: {pair.ttl:,} {way}: {_wrong_ttl(evidence, pair)}; {into} sets it", into),
        ("checksum", pair.checksum, f"checksum: {pair.checksum:,} {way}: IPv4 header checksum wrong; {into} sets it", into),
        ("next-hop MAC", pair.next_hop_mac, _wrong_mac(evidence, pair, way, out), out),
        ("source MAC", pair.source_mac, _wrong_source(evidence, pair, way, out), out),
    ]  # fmt: skip
    if evidence.ordered:
        text = f"late: {pair.late:,} {way}, in {pair.sequences:,} reordered sequences, below the direct quota"
        found.append(("late", pair.late, text, None))
    name = evidence.phase.name
    return [
        Fault(kind, text, name, count, pair.source, pair.destination, server)
        for kind, count, text, server in found
        if count
    ]


def _wrong_ttl(evidence: Evidence, pair: Pair) -> str:
    frame = evidence.sample(pair.destination, Sample.TTL)
    if frame is None:
        return "not one less than sent"
    return f"{frame[22]} where {ttl_of(Ident.of_frame(frame).flow)} was sent"


def _wrong_mac(evidence: Evidence, pair: Pair, way: str, server: str) -> str:
    frame = evidence.sample(pair.destination, Sample.DESTINATION_MAC)
    text = f"wrong next-hop MAC: {pair.next_hop_mac:,} {way}"
    if frame is not None:
        station = next(item for item in evidence.stations if item.site.port == pair.destination)
        targets = station.site.targets
        want = targets[Ident.of_frame(frame).flow % len(targets)].mac
        text += f": {mac_text(frame[:6])} instead of {want}"
    return f"{text}; {server} writes it"


def _wrong_source(evidence: Evidence, pair: Pair, way: str, server: str) -> str:
    frame = evidence.sample(pair.destination, Sample.SOURCE_MAC)
    station = next(item for item in evidence.stations if item.site.port == pair.destination)
    text = f"wrong source MAC: {pair.source_mac:,} {way}"
    if frame is not None:
        text += f": {mac_text(frame[6:12])} instead of {station.router_mac}"
    return f"{text}; {server} writes it"


def _changed(evidence: Evidence, pair: Pair) -> str:
    frame = evidence.sample(pair.destination, Sample.HEADER)
    return (
        "a field that no router changes"
        if frame is None
        else f"a field that no router changes, as in {frame[14:42].hex()}"
    )


def _disagreement(evidence: Evidence) -> list[Fault]:
    """Everything arrived, yet the servers' counters say otherwise."""
    faults = []
    handed: dict[str, int] = {}
    for source in evidence.phase.sources:
        server = evidence.owner(source.port)
        handed[server] = handed.get(server, 0) + source.sent - source.unsent
    for server, given in sorted(handed.items()):
        counted = evidence.readings.get(server)
        if counted is None:
            continue
        if counted.error:
            text = f"counters of {server} cannot be read: {counted.error}"
        elif counted.entered != given:
            ways = ", ".join(f"{way} {counted.forwarded.get(way, 0):,}" for way in ("local", "direct", "phase1"))
            text = f"counters of {server} do not agree: {given:,} were sent into it, it forwarded {counted.entered:,} ({ways})"
        elif sum(counted.paths.values()) != counted.entered - counted.forwarded.get("local", 0):
            text = (
                f"counters of {server} do not agree: its paths add up to {sum(counted.paths.values()):,} of {given:,}"
            )
        else:
            continue
        faults.append(Fault("counters", text, evidence.phase.name, server=server))
    return faults


def _summed(faults: Sequence[Fault], phase: str) -> list[Fault]:
    by_kind: dict[Kind, list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    out: list[Fault] = []
    for kind, same in by_kind.items():
        out += same[:_MANY]
        if len(same) > _MANY:
            rest = same[_MANY:]
            packets = sum(fault.packets for fault in rest)
            out.append(
                Fault(kind, f"{kind}: {packets:,} more packets on {len(rest)} more pairs of ports", phase, packets)
            )
    return out
