"""What goes through tunnels: testers stand in for the peers too, and every packet is opened and compared byte by byte.

The controller has the tunnels' keys, and it alone encrypts and decrypts; a tester sends and hears frames. So the rate
is low: what is tested is that packets of several sizes go into each tunnel at every input server, and out of it to
every port.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbops.dataplane import registry
from rbops.deploy.keys import tunnel_words
from rbops.plan import Tunnel
from rbops.selftest.esp import Association
from rbops.selftest.ports import AttachedTester, behind_tunnel, way_to
from rbops.selftest.result import Fault, Kind
from rbops.selftest.session import Session
from rbops.selftest.tunnelled import Expected, Heard, Inside, esp_frame, judge
from rbops.selftest.tunnelrun import TunnelRun, Way

__all__ = ["NAME", "PACKETS", "SIZES", "run"]

NAME = "tunnels"
PACKETS = 24
"""In each direction, for each tunnel and port."""
SIZES = (64, 512, 1100)
"""Bytes of a packet inside, in turn: with ESP around it the longest fits any MTU that a port may have."""
_PPS = 500.0
_TTL = 64
_QUIET_S, _LONGEST_S, _SLACK_S = 0.5, 5.0, 20.0


def run(session: Session, seconds: float) -> None:
    """Rows of the session's ``tunnel_runs``, faults and notes. ``seconds`` is not used."""
    del seconds
    plan = session.plan
    if not plan.forwarding.tunnels:
        return
    if not registry.controller(plan.forwarding.dataplane).kernel_ipsec:
        session.notes.append("what goes through tunnels leaves as ESP: not tested, `rbops verify` looks at the keys")
        return
    if session.bench.family != 4:  # noqa: PLR2004  the family
        session.notes.append(f"{NAME}: not tested, what they carry is IPv4")
        return
    made = _Made(session)
    negotiated = ", ".join(str(tunnel.spi) for tunnel in plan.forwarding.tunnels if tunnel.ike is not None)
    if negotiated:
        session.notes.append(
            f"{NAME}: {negotiated} not tested, testers negotiate no keys: `rbops verify` looks at what IKE says of them"
        )
    static = [tunnel for tunnel in plan.forwarding.tunnels if tunnel.ike is None]
    for tunnel, words in zip(static, tunnel_words(plan), strict=True):
        made.add(tunnel, words)
    if made.rows:
        session.say(f"{NAME}: {len(made.expected):,} packets at {_PPS:.0f} a second and port")
        _send(session, made)


@dataclass(slots=True)
class _Made:
    """Packets to send by port, what is expected of them, and the rows that they count for."""

    session: Session
    rows: list[tuple[Tunnel, Way, AttachedTester]] = field(default_factory=list)
    frames: dict[int, list[bytes]] = field(default_factory=dict)
    expected: dict[int, Expected] = field(default_factory=dict)
    associations: dict[tuple[str, int], tuple[Association, int]] = field(default_factory=dict)
    mark: bytes = b""

    def __post_init__(self) -> None:
        self.mark = random.SystemRandom().randbytes(8)

    def add(self, tunnel: Tunnel, words: tuple[bytes, ...]) -> None:
        """All packets of one tunnel, or a note why there are none."""
        peer = self._peer(tunnel)
        if peer is None:
            return
        tester, mac = peer
        half = len(words) // 2
        counted = self._counted(tunnel)
        for server in self.session.plan.servers:
            spi = tunnel.outward_spi(server.index)
            high = counted.get((server.name, "out"), 0) >> 32
            association = Association(spi, _salted(words[:half], server.index), tunnel.esn)
            self.associations[tunnel.peer, spi] = (association, high)
        inside = [at for at in self.session.bench.testers if self._in_sources(tunnel, at)]
        self._outward(tunnel, inside, tester, mac)
        owner = self._owner(tunnel)
        if (owner, "in") not in counted:
            self.session.notes.append(
                f"tunnel {tunnel.spi}: nothing is sent as its peer: {owner} does not say which sequence number is next"
            )
            return
        inward = Association(tunnel.inward_spi, words[half:], tunnel.esn)
        self._inward(tunnel, inside, tester, inward, counted[owner, "in"] + 1)

    def _peer(self, tunnel: Tunnel) -> tuple[AttachedTester, str] | None:
        """The tester at the port that the peer is behind, and the MAC that its packets leave with."""
        way = way_to(self.session.plan, tunnel.peer)
        for tester in self.session.bench.testers:
            if way is not None and tester.at.port == way[0]:
                return tester, way[1]
        self.session.notes.append(f"tunnel {tunnel.spi} is not tested: its peer is behind no port with a tester")
        return None

    def _in_sources(self, tunnel: Tunnel, tester: AttachedTester) -> bool:
        address = ipaddress.IPv4Address(tester.at.address)
        if any(address in ipaddress.IPv4Network(source) for source in tunnel.sources):
            return True
        self.session.notes.append(
            f"tunnel {tunnel.spi} is not tested with port {tester.at.port}: {address} is not in its `sources`"
        )
        return False

    def _owner(self, tunnel: Tunnel) -> str:
        """The server that decrypts."""
        return next(each.name for each in self.session.plan.servers if tunnel.local in each.own_addresses)

    def _counted(self, tunnel: Tunnel) -> dict[tuple[str, str], int]:
        """(server, way) -> the last sequence number of its association."""
        found = {}
        for server, reading in self.session.readings().items():
            for way, association in _associations(reading, tunnel.spi):
                found[server, way] = int(association.get("sequence", 0))
        return found

    def _outward(self, tunnel: Tunnel, inside: list[AttachedTester], peer: AttachedTester, mac: str) -> None:
        servers = {server.name: server.index for server in self.session.plan.servers}
        for tester in inside:
            row = self._row(tunnel, "out", tester)
            spi = tunnel.outward_spi(servers[tester.at.server])
            for packet in self._packets(tunnel, tester, outward=True):
                frame = _macs(tester.router_mac, tester.mac) + b"\x08\x00" + packet.packet(_TTL)
                self.frames.setdefault(tester.at.port, []).append(frame)
                macs = _macs(mac, peer.router_mac)
                self.expected[packet.number] = Expected(row, peer.at.port, macs, packet.packet(_TTL - 1), True, spi)  # noqa: FBT003 - sealed

    def _inward(
        self, tunnel: Tunnel, inside: list[AttachedTester], peer: AttachedTester, association: Association, first: int
    ) -> None:
        following = first
        for tester in inside:
            row = self._row(tunnel, "in", tester)
            way = way_to(self.session.plan, tester.at.address)
            for packet in self._packets(tunnel, tester, outward=False):
                sealed = association.seal(packet.packet(_TTL), following)
                following += 1
                ends = tunnel.peer, str(tunnel.local)
                frame = esp_frame(peer.router_mac, peer.mac, ends, sealed, udp=tunnel.udp)
                self.frames.setdefault(peer.at.port, []).append(frame)
                macs = _macs(way[1] if way else tester.mac, tester.router_mac)
                self.expected[packet.number] = Expected(row, tester.at.port, macs, packet.packet(_TTL - 1), False)  # noqa: FBT003 - sealed

    def _row(self, tunnel: Tunnel, way: Way, tester: AttachedTester) -> int:
        self.rows.append((tunnel, way, tester))
        return len(self.rows) - 1

    def _packets(self, tunnel: Tunnel, tester: AttachedTester, *, outward: bool) -> Iterator[Inside]:
        choose = random.Random(self.session.options.seed)  # noqa: S311  a repeatable sample, no secret
        for at in range(PACKETS):
            far = behind_tunnel(self.session.plan, tunnel, choose)
            ends = (tester.at.address, far) if outward else (far, tester.at.address)
            yield Inside(self.mark, len(self.expected), *ends, SIZES[at % len(SIZES)])


def _associations(reading: Mapping[str, Any], spi: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in reading.get("tunnels", ()):
        if entry["tunnel"] == spi:
            yield from ((way, entry[way]) for way in ("out", "in") if way in entry)


def _macs(to: str, own: str) -> bytes:
    return bytes.fromhex((to + own).replace(":", ""))


def _salted(keys: tuple[bytes, ...], server: int) -> tuple[bytes, ...]:
    """As docs/ipsec.md has it: a server's salt differs by its number in the last octet."""
    if len(keys) != 1:
        return keys
    return (keys[0][:-1] + bytes((keys[0][-1] ^ server,)),)


def _send(session: Session, made: _Made) -> None:
    agents, testers = session.bench.agents, session.bench.testers
    agents.call("listen")
    try:
        most = max(len(frames) for frames in made.frames.values())
        asked = [
            {"frames": [frame.hex() for frame in made.frames[tester.at.port]], "pps": _PPS}
            if tester.at.port in made.frames
            else None
            for tester in testers
        ]
        agents.each("frames_out", asked, timeout_s=most / _PPS + _SLACK_S)
        frames = _heard(session, made)
    finally:
        agents.call("rest")
    found, unopened = judge(made.expected, len(made.rows), frames, made.associations, made.mark)
    for number, (tunnel, way, tester) in enumerate(made.rows):
        sent = sum(each.row == number for each in made.expected.values())
        _keep(session, _result(tunnel, way, tester, sent, found[number]), found[number].reasons)
    if unopened:
        text = f"{len(unopened)} ESP packets of tunnels could not be opened with their keys; {unopened[0]}"
        session.faults.append(Fault("corrupt", text, NAME, len(unopened)))


def _heard(session: Session, made: _Made) -> list[tuple[int, bytes]]:
    """(port, frame) until nothing more comes."""
    found: list[tuple[int, bytes]] = []
    end = time.monotonic() + _LONGEST_S
    quiet = 0
    while time.monotonic() < end and quiet < 2:  # noqa: PLR2004  times in a row
        time.sleep(_QUIET_S)
        answers = session.bench.agents.call("frames_in", mark=made.mark.hex())
        more = [
            (tester.at.port, bytes.fromhex(frame))
            for tester, answer in zip(session.bench.testers, answers, strict=True)
            for frame in answer["frames"]
        ]
        found += more
        quiet = 0 if more else quiet + 1
    return found


def _result(tunnel: Tunnel, way: Way, tester: AttachedTester, sent: int, heard: Heard) -> TunnelRun:
    return TunnelRun(
        tunnel=tunnel.spi,
        peer=tunnel.peer,
        way=way,
        server=tester.at.server,
        port=tester.at.port,
        sent=sent,
        received=len(heard.received),
        duplicates=heard.duplicates,
        misdelivered=len(heard.misdelivered),
        wrong=heard.wrong,
        clear=heard.clear,
    )


def _keep(session: Session, found: TunnelRun, reasons: list[str]) -> None:
    session.tunnel_runs.append(found)
    why = f"; {reasons[0]}" if reasons else ""
    said: tuple[tuple[Kind, int, str], ...] = (
        ("in the clear", found.clear, "left in the clear"),
        ("loss", found.lost, "were lost"),
        ("duplicate", found.duplicates, "arrived more than once"),
        ("misdelivered", found.misdelivered, "left by another port"),
        ("corrupt", found.wrong, "arrived otherwise than expected"),
    )
    for kind, count, what in said:
        if count:
            shown = "" if kind in ("loss", "duplicate") else why
            text = f"{found.head} {count} of {found.sent} packets {found.side} {what}{shown}"
            session.faults.append(Fault(kind, text, NAME, count, found.port, None, found.server))
