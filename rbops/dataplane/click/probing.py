"""Probes of the internal cables where Click is the data plane: it sends them back, and this process reads the answers.

Click itself has one part: on an internal port it turns a neighbour's probe round. Answers are read here from packet
sockets, which see frames as Click does, and what follows from them is told to Click's handlers. So this needs ports
that the kernel has (dialect ``socket``). What is known is in a file in memory, for ``status``. Standard library only.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rbops.dataplane.click.control import NoClick
from rbops.dataplane.click.links import Links
from rbops.node.probes import ANSWER_MAC, FRAME, PROBE_MAC, PROTOCOL, cable_row, cut_of, probe_frame, row_of, said_in
from rbops.node.reach import Said
from rbops.node.schema.dataplane import Fabric
from rbops.node.socketfilter import attach

__all__ = ["ClickProbing", "read_probes"]

_DEVICES = Path("/sys/class/net")
_ETH_P_ALL = 3
_SO_TIMESTAMPNS, _TIMESPEC = 35, struct.Struct("@ll")
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_PROBE = struct.Struct("<QIIIIIII")
"""ns of the last answer, its round trip in ns, answers, probes asked, sent, missed, transitions, state."""
_LOOK_NS = 50_000_000
_AGAIN_NS = 500_000_000
_TIMEOUT_S = 0.5
_MOST = 0xFFFFFFFF


class _Ear:
    """Hears the probes and answers that come in by a device, and how many other frames came."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        _only_probes(self._socket)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((device, _ETH_P_ALL))
        self._socket.setblocking(False)  # noqa: FBT003 - the name of the method says it
        self._count = (_DEVICES / device / "statistics" / "rx_packets").open("rb", buffering=0)
        self._heard = 0
        self.others = 0
        """Received frames that are not probes. Never decreases; a probe that the kernel has counted and not yet
        delivered may add one.
        """

    def frames(self) -> list[tuple[int, bytes]]:
        """What came since the last time, and when (ns of the monotonic clock): long before it is read here."""
        received = int(os.pread(self._count.fileno(), 32, 0))
        ahead = time.time_ns() - time.monotonic_ns()
        found = []
        with suppress(BlockingIOError, OSError):
            while True:
                frame, extra, _, _ = self._socket.recvmsg(256, 64)
                seconds, ns = _TIMESPEC.unpack(extra[0][2])
                found.append((seconds * 1_000_000_000 + ns - ahead, frame))
        self._heard += len(found)
        self.others = max(self.others, received - self._heard)
        return found

    def close(self) -> None:
        self._socket.close()
        self._count.close()


class ClickProbing:
    """rbops.dataplane.base.Probing. A port is its place in the fabric's list.

    Raises Mismatch (3) where Click does not run, OSError for a device that is gone.
    """

    def __init__(self, fabric: Fabric, devices: Mapping[str, str], links: Links, notes: Path) -> None:
        self._fabric, self._links = fabric, links
        self._server = fabric.server
        self._dead = links.dead()
        self._silent: set[int] = set()
        self._looked = self._again = 0
        self._untold: dict[tuple[str, int], Callable[[], None]] = {}
        self._rows: dict[int, bytes] = {}
        self._said: dict[int, Said | None] = {}
        self._memory = _memory(notes, len(fabric.ports))
        self._ears: dict[int, _Ear] = {}
        for number, port in enumerate(fabric.ports):
            if port.kind == "internal":
                self._ears[number] = _Ear(devices.get(port.name, port.name))

    def close(self) -> None:
        """No more probes are heard."""
        for ear in self._ears.values():
            ear.close()

    def frame(self, mac: bytes, sequence: int, now_ns: int, said: Said | None = None) -> bytes:
        """A probe that leaves by the device with that MAC; and what is said of any server."""
        return probe_frame(self._server, mac, sequence, now_ns, self.cut(), said)

    def said(self, port: int) -> Said | None:
        """What the last probe by a port said of any server; None: nothing."""
        return self._said.get(port)

    def cut(self) -> int:
        """The servers that this one cannot reach, a bit each."""
        now = time.monotonic_ns()
        if now - self._looked > _LOOK_NS and now > self._again:
            self._looked = now
            self._ask(self._look)
        return self._dead | sum(1 << server for server in self._silent)

    def set_cut(self, server: int, cut: int) -> None:
        """Note which servers a remote server cannot reach, as a bit mask: no path to them goes through it."""
        self._note_cut(server, row_of(cut))

    def answered_ns(self, port: int) -> int:
        """When the last answer came, ns of the monotonic clock; 0: none yet."""
        self._hear(port)
        return self._probe(port)[0]

    def received(self, port: int) -> tuple[int, int]:
        """Packets that came in by a port, and probes of its neighbour's; both only grow."""
        return self._ears[port].others, self._probe(port)[3]

    def is_cut(self, server: int) -> bool:
        """Whether the last probe of a neighbour said that its cable to this server does not work."""
        return bool(self.cut_of(server) >> self._server & 1)

    def cut_of(self, server: int) -> int:
        """The servers that a neighbour's last probe said it cannot reach, a bit each."""
        return cut_of(self._rows.get(server, b""))

    def noted(self, port: int) -> tuple[int, int, int, int]:
        """(sent, missed, transitions, state) as they were noted last."""
        *_, sent, missed, transitions, state = self._probe(port)
        return sent, missed, transitions, state

    def note(self, port: int, sent: int, missed: int, transitions: int, state: int) -> None:
        """For status and counters, and for a prober that starts again."""
        self._set(port, *self._probe(port)[:4], sent & _MOST, missed & _MOST, transitions & _MOST, state)

    def set_silent(self, server: int, *, silent: bool) -> None:
        """Leave the link towards ``server`` out of all choices, or use it again."""
        (self._silent.add if silent else self._silent.discard)(server)
        self._tell("server", server, lambda: self._links.server("answers", server, is_so=not silent))

    def set_cable_silent(self, port: int, *, silent: bool) -> None:
        """Leave one of several cables to a server out, or use it again."""
        name = self._fabric.ports[port].name
        self._tell("cable", port, lambda: self._links.cable("cable_answers", name, is_so=not silent))

    def _hear(self, port: int) -> None:
        at, round_trip, answers, asked, *rest = self._probe(port)
        heard = self._ears[port].frames()
        for came, frame in heard:
            if len(frame) < FRAME.size:
                continue
            target, _, _, server, _, _, sent, row = FRAME.unpack_from(frame)
            if target == ANSWER_MAC and server == self._server:
                at = max(at, came)
                round_trip = min(max(0, came - sent), _MOST)
                answers += 1
            elif target == PROBE_MAC:
                asked += 1
                self._note_cut(server, row)
                self._said[port] = said_in(frame)
        if heard:
            self._set(port, at, round_trip, answers & _MOST, asked & _MOST, *rest)

    def _note_cut(self, server: int, row: bytes) -> None:
        row = row.rstrip(b"\0")
        if self._rows.get(server, b"") == row or server == self._server or server >= self._fabric.servers:
            return
        self._rows[server] = row
        self._tell("cut", server, lambda: self._links.cut(server, row))

    def _tell(self, what: str, number: int, tell: Callable[[], None]) -> None:
        """Now, or as soon as Click answers again: what it was not told would hold for ever."""
        self._untold.pop((what, number), None)
        self._untold[what, number] = tell
        if time.monotonic_ns() > self._again:
            self._ask(self._tell_all)

    def _tell_all(self) -> None:
        while self._untold:
            key = next(iter(self._untold))
            self._untold[key]()
            del self._untold[key]

    def _look(self) -> None:
        self._tell_all()
        self._dead = self._links.dead()

    def _ask(self, something: Callable[[], None]) -> None:
        """A Click that does not answer (it stands still, or is just started) is asked again after a while."""
        try:
            something()
        except NoClick:
            self._again = time.monotonic_ns() + _AGAIN_NS

    def _probe(self, port: int) -> tuple[int, ...]:
        return _PROBE.unpack_from(self._memory, _PROBE.size * port)

    def _set(self, port: int, *values: int) -> None:
        _PROBE.pack_into(self._memory, _PROBE.size * port, *values)


def read_probes(fabric: Fabric, notes: Path) -> dict[str, dict[str, Any]]:
    """What is known of each internal cable, by port; nothing where no probes are sent."""
    try:
        memory = notes.read_bytes()
    except FileNotFoundError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for number, port in enumerate(fabric.ports):
        if port.kind != "internal" or len(memory) < _PROBE.size * (number + 1):
            continue
        found[port.name] = cable_row(*_PROBE.unpack_from(memory, _PROBE.size * number)[1:])
    return found


def _memory(notes: Path, ports: int) -> mmap.mmap:
    """The file's memory, made where it is not there or of another number of ports."""
    size = max(1, ports) * _PROBE.size
    if not notes.exists() or notes.stat().st_size != size:
        notes.parent.mkdir(mode=0o700, exist_ok=True)
        notes.write_bytes(bytes(size))
    with notes.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)


def _only_probes(link: socket.socket) -> None:
    """Classic BPF (linux/filter.h): of all frames those of the probes' protocol, at most 256 bytes of each."""
    attach(link, [(0x28, 0, 0, 12), (0x15, 0, 1, PROTOCOL), (0x6, 0, 0, 256), (0x6, 0, 0, 0)])
