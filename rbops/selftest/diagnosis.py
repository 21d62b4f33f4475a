"""Diagnoses faults from counts: what is wrong between which ports, and which server to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rbops.selftest.bench import Outcome
from rbops.selftest.counters import Readings, Suspicion, unresponsive
from rbops.selftest.ports import AttachedTester
from rbops.selftest.result import Fault, Kind, Pair, Phase
from rbops.selftest.traffic import ttl_of
from rbops.selftest.wire import FrameFault as Sample
from rbops.selftest.wire import Ident, header_bytes, mac_text

__all__ = ["Evidence", "diagnose"]

_MANY = 12
"""Faults of one kind that are listed one by one; more are summed up."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A phase, and what helps to find the server at fault.

    ``ordered``: whether packets of a flow must arrive in order in this phase. ``readings`` is the
    difference of the servers' counters over the phase, empty when they were not read.
    """

    outcome: Outcome
    testers: Sequence[AttachedTester]
    ordered: bool
    suspicions: Sequence[Suspicion] = ()
    readings: Readings = field(default_factory=dict)

    @property
    def phase(self) -> Phase:
        """The phase itself."""
        return self.outcome.phase

    @property
    def handed(self) -> dict[str, int]:
        """Server -> packets that the testers on its ports handed to it."""
        out: dict[str, int] = {}
        for source in self.phase.sources:
            server = self.owner(source.port)
            out[server] = out.get(server, 0) + source.sent - source.unsent
        return out

    def tester(self, port: int) -> AttachedTester:
        """The tester on an external port."""
        return next(tester for tester in self.testers if tester.at.port == port)

    def ident(self, frame: bytes) -> Ident:
        """The identity that a frame of the phase carries, unchecked."""
        return Ident.of_frame(frame, self.phase.family)

    def owner(self, port: int) -> str:
        """The server that owns an external port."""
        return self.tester(port).at.server

    def sample(self, pair: Pair, kind: Sample) -> bytes | None:
        """The first wrong frame of a kind at the pair's exit, if it came from the pair's entrance."""
        frame = self.outcome.samples.get(self.tester(pair.destination).index, {}).get(kind)
        if frame is None or self.ident(frame).source != self.tester(pair.source).index:
            return None
        return frame


def diagnose(evidence: Evidence) -> tuple[Fault, ...]:
    """Every fault of a phase, the gravest kinds first: packets that never arrived before packets that are wrong."""
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
        text = f"nothing arrived from port {pair.source} to port {pair.destination} ({pair.sent:,} sent)"
        server = down.get(pair.source) or down.get(pair.destination)
        if server:
            text += f": is the data plane of {server} up?"
        else:
            server = _culprit(evidence, pair)
        faults.append(
            Fault("nothing arrived", text + _because(evidence, server, pair), phase.name, pair.lost, pair.source,
                  pair.destination, server)
        )  # fmt: skip
    return faults


def _down_servers(evidence: Evidence, silent: Sequence[Pair]) -> dict[int, str]:
    """Ports all of whose traffic vanished, by port: the server that owns them; with counters, those without any."""
    dead = unresponsive(evidence.readings, evidence.handed)
    out = {}
    for tester in evidence.testers:
        port, server = tester.at.port, tester.at.server
        touching = [pair for pair in evidence.phase.pairs if port in (pair.source, pair.destination)]
        if server in dead or all(pair in silent for pair in touching):
            out[port] = server
    if len(out) == len(evidence.testers) and dead and not all(server in dead for server in out.values()):
        return {port: server for port, server in out.items() if server in dead}
    return out


def _unsent(evidence: Evidence) -> list[Fault]:
    faults = []
    for source in evidence.phase.sources:
        if not source.unsent:
            continue
        server = evidence.owner(source.port)
        text = f"unsent {source.unsent:,} of {source.sent:,} at port {source.port}: refused by the tester's own device"
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
                "loss",
                text + _because(evidence, server, pair),
                phase.name,
                pair.lost,
                pair.source,
                pair.destination,
                server,
            )
        )
    return faults


def _culprit(evidence: Evidence, pair: Pair) -> str | None:
    """The server whose counters miss packets; of several, one on the pair's path, then the one that misses most."""
    if not evidence.suspicions:
        return None
    ends = (evidence.owner(pair.source), evidence.owner(pair.destination))
    on_path = [suspicion.server for suspicion in evidence.suspicions if suspicion.server in ends]
    return on_path[0] if on_path else evidence.suspicions[0].server


def _because(evidence: Evidence, server: str | None, pair: Pair) -> str:
    """What the server's counters lack; of its cables the one from the pair's entrance first."""
    entrance = evidence.owner(pair.source)
    against = [suspicion for suspicion in evidence.suspicions if suspicion.server == server]
    against.sort(key=lambda suspicion: suspicion.sender not in (None, entrance))
    return f" [{'; '.join(suspicion.text for suspicion in against[:2])}]" if against else ""


def _pair_faults(evidence: Evidence, pair: Pair) -> list[Fault]:
    """Packets that arrived but were wrong, or at the wrong port."""
    among = f"of {pair.sent:,} from port {pair.source} to port {pair.destination}"
    into, out = evidence.owner(pair.source), evidence.owner(pair.destination)
    checksum = f"checksum: {pair.checksum:,} {among}: IPv4 header checksum wrong"
    mangled = f"corrupt: {pair.mangled:,} {among}: the payload does not identify the packet any more"
    late = f"late: {pair.late:,} {among}, in {pair.sequences:,} reordered sequences, below the direct quota"
    found: list[tuple[Kind, int, str, str | None]] = [
        *_misdelivered(pair, among, into),
        ("duplicate", pair.duplicates, f"duplicate: {pair.duplicates:,} {among} arrived more than once", None),
        ("corrupt", pair.mangled, mangled, None),
        ("corrupt", pair.corrupt, f"corrupt: {pair.corrupt:,} {among}: payload or length changed", None),
        ("header", pair.header, f"header: {pair.header:,} {among}: {_changed(evidence, pair)}", None),
        ("TTL", pair.ttl, f"TTL: {pair.ttl:,} {among}: {_wrong_ttl(evidence, pair)}; {into} sets it", into),
        ("checksum", pair.checksum, f"{checksum}; {into} sets it", into),
        ("next-hop MAC", pair.next_hop_mac, f"{_wrong_mac(evidence, pair, among)}; {out} writes it", out),
        ("source MAC", pair.source_mac, f"{_wrong_source(evidence, pair, among)}; {out} writes it", out),
        ("late", pair.late if evidence.ordered else 0, late, None),
    ]
    name = evidence.phase.name
    return [
        Fault(kind, text, name, count, pair.source, pair.destination, server)
        for kind, count, text, server in found
        if count
    ]


def _misdelivered(pair: Pair, among: str, server: str) -> list[tuple[Kind, int, str, str | None]]:
    found: list[tuple[Kind, int, str, str | None]] = []
    for port, count in pair.misdelivered:
        wrong = f"for port {pair.destination} came out of port {port}"
        text = f"misdelivered: {count:,} {among}: {wrong}; {server} chose the port: check its routes"
        found.append(("misdelivered", count, text, server))
    return found


def _wrong_ttl(evidence: Evidence, pair: Pair) -> str:
    frame = evidence.sample(pair, Sample.TTL)
    if frame is None:
        return "not one less than sent"
    source, destination = evidence.tester(pair.source), evidence.tester(pair.destination)
    sent = ttl_of(evidence.ident(frame).flow, source.hops_to(destination.at))
    at = 22 if evidence.phase.family == 4 else 21  # noqa: PLR2004  TTL of IPv4, hop limit of IPv6
    return f"{frame[at]} where {sent} was sent"


def _wrong_mac(evidence: Evidence, pair: Pair, among: str) -> str:
    text = f"wrong next-hop MAC: {pair.next_hop_mac:,} {among}"
    frame = evidence.sample(pair, Sample.DESTINATION_MAC)
    if frame is None:
        return text
    targets = evidence.tester(pair.destination).at.targets
    planned = targets[evidence.ident(frame).flow % len(targets)].mac
    return f"{text}: {mac_text(frame[:6])} instead of {planned}"


def _wrong_source(evidence: Evidence, pair: Pair, among: str) -> str:
    text = f"wrong source MAC: {pair.source_mac:,} {among}"
    frame = evidence.sample(pair, Sample.SOURCE_MAC)
    if frame is None:
        return text
    return f"{text}: {mac_text(frame[6:12])} instead of {evidence.tester(pair.destination).router_mac}"


def _changed(evidence: Evidence, pair: Pair) -> str:
    text = "a header field that no router changes is not what was sent"
    frame = evidence.sample(pair, Sample.HEADER)
    return text if frame is None else f"{text}, as in {frame[14 : header_bytes(evidence.phase.family)].hex()}"


def _disagreement(evidence: Evidence) -> list[Fault]:
    """Everything arrived, but the servers' counters do not agree with it."""
    faults = []
    for server, given in sorted(evidence.handed.items()):
        counted = evidence.readings.get(server)
        # Some data planes do not count what they forward: their interfaces count everything together.
        if counted is None or not (counted.forwarded or counted.error):
            continue
        kinds = {kind: counted.forwarded.get(kind, 0) for kind in ("local", "direct", "phase1")}
        on_paths = sum(counted.paths.values())
        if counted.error:
            text = f"counters of {server} cannot be read: {counted.error}"
        elif counted.entered != given:
            listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
            text = (
                f"counters of {server} do not agree: {given:,} sent into it, {counted.entered:,} forwarded ({listed})"
            )
        elif on_paths != counted.entered - kinds["local"]:
            text = f"counters of {server} do not agree: its paths add up to {on_paths:,} of {given:,}"
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
