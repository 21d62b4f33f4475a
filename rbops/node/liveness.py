"""Whether neighbours' data planes forward: probes over every internal cable, and what follows from their answers.

A cable whose carrier is up may still swallow packets: a program that was detached, a CPU that hangs, a transceiver that
is silent. So each server sends a probe over each cable every 10 ms, or as the spec says, and the far data plane itself
sends it back. The data plane notes the answers, this process reads them: what counts is when an answer came, not when
it is read.

Probes take their turn behind packets, so an overloaded server loses some. While packets come over a cable, and the far
end's own probes do not say that it hears nothing of us, missing answers mean that and not a dead cable.

A prober that gets no CPU for a while must not blame others: a round that is late counts no probe as missed. Nor does
silence on all cables at once, which is more likely our own, until it has lasted twice as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rbops.dataplane.base import Probing
from rbops.node.schema.dataplane import Fabric

__all__ = ["ALIVE", "BACK_NS", "DEAD", "UNKNOWN", "Cable", "Judge", "Timing", "cables"]

UNKNOWN, ALIVE, DEAD = range(3)
"""UNKNOWN: the far end has never answered (it may run a program that cannot), and is used."""

BACK_NS = 1_000_000_000
"""How long a dead cable must have answered before it is used again."""
_TOLD_ROUNDS = 30
"""For so long what a neighbour's last probe said holds."""
_NOTE_EVERY = 16


@dataclass(slots=True)
class Cable:
    """An internal port: its place in the fabric's list, and the servers that packets go to by it.

    ``bundle``: the places of all cables to the same server, where there are several.
    """

    port: int
    servers: tuple[int, ...]
    peer: int
    """The server at its other end."""
    bundle: tuple[int, ...] = field(default=(), kw_only=True)
    state: int = UNKNOWN
    sent: int = 0
    missed: int = 0
    """In all."""
    transitions: int = 0
    silent_rounds: int = 0
    """Rounds without an answer since the last one that came."""
    answering_since: int = 0
    """ns; 0: it does not answer."""
    packets: int = 0
    """That came over it, when that was read last; and the neighbour's probes, with the time of the last, ns."""
    asked: int = 0
    asked_ns: int = 0


def cables(fabric: Fabric) -> list[Cable]:
    """The internal ports that packets leave by."""
    servers: dict[str, list[int]] = {}
    for server, port in sorted(fabric.next_hop.items()):
        servers.setdefault(port, []).append(server)
    place = {port.name: number for number, port in enumerate(fabric.ports)}
    found = []
    for first, leads_to in servers.items():
        peer = fabric.ports[place[first]].peer_server
        if peer is None:
            continue
        bundle = tuple(place[name] for name in fabric.bundle(first))
        several = bundle if len(bundle) > 1 else ()
        found += [Cable(port, tuple(leads_to), peer, bundle=several) for port in bundle]
    return sorted(found, key=lambda cable: cable.port)


def _bits(servers: Iterable[int]) -> int:
    return sum(1 << server for server in servers)


@dataclass(frozen=True, slots=True)
class Timing:
    """How often is probed, in ns, and after how many rounds without an answer a cable is dead."""

    interval_ns: int = 10_000_000
    missed: int = 3

    @classmethod
    def of(cls, fabric: Fabric) -> Timing:
        """As planned."""
        return cls(round(fabric.probe_interval_s * 1e9), fabric.probe_multiplier)

    @property
    def late_ns(self) -> int:
        """A round that begins so much later says nothing of neighbours."""
        return self.interval_ns // 2

    @property
    def missed_by_all(self) -> int:
        """Rounds in which nobody answers, until this server believes it."""
        return -(-8 * self.missed // 3)

    @property
    def back_ns(self) -> int:
        """How long a dead cable must have answered before it is used again."""
        return max(BACK_NS, self.missed * self.interval_ns)


class Judge:
    """The state of all cables, from what the data plane noted. ``previous`` states are kept over a restart."""

    def __init__(self, all_cables: Sequence[Cable], probing: Probing, timing: Timing) -> None:
        self._timing = timing
        self._cables = all_cables
        self._probing = probing
        self._rounds = 0
        self._last: int | None = None
        self._was_late = False
        # By neighbour, a bit each: the servers that are reached over it, and those of them that it says are cut off.
        self._behind = {cable.peer: _bits(cable.servers) & ~(1 << cable.peer) for cable in all_cables}
        self._lost = dict.fromkeys(self._behind, 0)
        for cable in all_cables:
            cable.sent, cable.missed, cable.transitions, cable.state = probing.noted(cable.port)
            self._tell(cable)

    def suspects(self) -> bool:
        """Whether the next round might declare a cable dead: then look first whether the data plane was loaded anew."""
        return any(cable.state == ALIVE and cable.silent_rounds + 1 >= self._timing.missed for cable in self._cables)

    def round(self, now: int) -> list[Cable]:
        """What the answers say at ``now`` (ns), just before the next probes; returns the cables that changed."""
        last, self._last = self._last, now
        if last is None:
            return []
        slow = now - last > self._timing.interval_ns + self._timing.late_ns
        # Once is a hiccup of ours; who is slow all the time must judge nevertheless.
        late, self._was_late = slow and not self._was_late, slow
        for cable in self._cables:
            self._read(cable, last, now, late=late)
        changed = [cable for cable in self._cables if self._judge(cable, now)]
        for cable in changed:
            cable.transitions += 1
        told = self._listen()
        for cable in self._cables:
            if cable in changed or cable.peer in told:
                self._tell(cable)
        self._rounds += 1
        for cable in self._cables if self._rounds % _NOTE_EVERY == 0 else changed:
            self._probing.note(cable.port, cable.sent, cable.missed, cable.transitions, cable.state)
        return changed

    def sent(self, failed: Iterable[int]) -> None:
        """Probes left by all ports but ``failed``."""
        lost = frozenset(failed)
        for cable in self._cables:
            cable.sent += cable.port not in lost

    def _tell(self, cable: Cable) -> None:
        silent = cable.state == DEAD
        if cable.bundle:
            self._probing.set_cable_silent(cable.port, silent=silent)
            silent = all(other.state == DEAD for other in self._cables if other.port in cable.bundle)
        for server in cable.servers:
            self._probing.set_silent(server, silent=silent or bool(self._lost[cable.peer] >> server & 1))

    def _listen(self) -> set[int]:
        """The neighbours that say something new of the servers behind them."""
        told = set()
        for peer, behind in self._behind.items():
            if behind and (lost := self._probing.cut_of(peer) & behind) != self._lost[peer]:
                self._lost[peer] = lost
                told.add(peer)
        return told

    def _read(self, cable: Cable, last: int, now: int, *, late: bool) -> None:
        answered = self._probing.answered_ns(cable.port)
        heard = self._hears(cable, now)
        if answered >= last:
            cable.silent_rounds = 0
            cable.answering_since = cable.answering_since or answered
            if cable.state == UNKNOWN:
                cable.state = ALIVE
        elif not late:
            cable.missed += cable.state != UNKNOWN
            cable.silent_rounds = 0 if heard and cable.state == ALIVE else cable.silent_rounds + 1
            if cable.silent_rounds > 1:
                cable.answering_since = 0

    def _hears(self, cable: Cable, now: int) -> bool:
        """Whether packets came over it since the last round, and the neighbour does not say that it hears nothing."""
        packets, asked = self._probing.received(cable.port)
        if asked != cable.asked:
            cable.asked_ns = now
        came = packets != cable.packets
        cable.packets, cable.asked = packets, asked
        told = now - cable.asked_ns < _TOLD_ROUNDS * self._timing.interval_ns
        return came and told and not self._probing.is_cut(cable.peer)

    def _judge(self, cable: Cable, now: int) -> bool:
        """Whether the state changed."""
        if cable.state == ALIVE and cable.silent_rounds >= self._patience():
            cable.state = DEAD
            return True
        if cable.state == DEAD and cable.answering_since and now - cable.answering_since >= self._timing.back_ns:
            cable.state = ALIVE
            return True
        return False

    def _patience(self) -> int:
        """Longer while no neighbour at all is heard."""
        known = [cable for cable in self._cables if cable.state != UNKNOWN]
        alone = len(known) > 1 and all(cable.silent_rounds >= self._timing.missed for cable in known)
        return self._timing.missed_by_all if alone else self._timing.missed
