"""Probes of the internal cables, as the XDP programs answer and note them. Standard library only."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from rbops.dataplane.xdp import layout as shape
from rbops.node.probes import cable_row, probe_frame, row_of
from rbops.node.reach import Said
from rbops.node.schema.dataplane import Fabric

__all__ = ["LinkStates", "XdpProbing", "read_probes"]

_NOTED = struct.Struct("<IIII")
_NOTED_AT = shape.PROBE.size - _NOTED.size


class LinkStates:
    """What is said of the direct links, by server, in the control map's memory."""

    def __init__(self, control: memoryview, servers: int) -> None:
        self._control, self._servers = control, servers

    def set(self, server: int, what: int, *, on: bool) -> None:
        """``what``: one of layout.NO_CARRIER, SILENT, DRAINED."""
        self._control[shape.LINK_STATES_AT + shape.LINK_STATE.size * server + what] = int(on)

    def all(self, *what: int) -> list[int]:
        """The servers of which any of ``what`` is said."""
        return [server for server, said in enumerate(self._each()) if any(said[one] for one in what)]

    def cut(self) -> int:
        """The servers that no link which works leads to, a bit each, as a probe tells them."""
        return sum(1 << server for server in self.all(shape.NO_CARRIER, shape.SILENT))

    def out_of_reach(self) -> list[dict[str, int]]:
        """Which servers are said not to be reached through which."""
        found = []
        for via in self.all(shape.PARTIAL):
            at = shape.CUT_AT + shape.CUT_BYTES * via
            row = int.from_bytes(self._control[at : at + shape.CUT_BYTES], "little")
            found += [{"through": via, "to": to} for to in range(self._servers) if row >> to & 1]
        return found

    def _each(self) -> Iterator[tuple[int, ...]]:
        end = shape.LINK_STATES_AT + shape.LINK_STATE.size * self._servers
        return shape.LINK_STATE.iter_unpack(self._control[shape.LINK_STATES_AT : end])


class XdpProbing:
    """rbops.dataplane.base.Probing. A port is its place in the fabric's list."""

    def __init__(self, fabric: Fabric, control: memoryview, layout: shape.Layout, cores: memoryview) -> None:
        self._server = fabric.server
        self._control = control
        # Read in every round for every cable: all CPUs' counters of a port are one slice.
        self._numbers, self._stride = cores[: layout.cpus * layout.core].cast("Q"), layout.core // 8
        self._links = LinkStates(control, fabric.servers)

    def frame(self, mac: bytes, sequence: int, now_ns: int, said: Said | None = None) -> bytes:
        """A probe that leaves by the device with that MAC; and what is said of any server."""
        return probe_frame(self._server, mac, sequence, now_ns, self._links.cut(), said)

    def said(self, port: int) -> Said | None:
        """What the last probe by a port said of any server; None: nothing, or a new one is just coming."""
        at = shape.SAID_AT + shape.SAID.size * port
        number, server, _, row = shape.SAID.unpack_from(self._control, at)
        if not number or (number, server) != shape.SAID.unpack_from(self._control, at)[:2]:
            return None
        return Said(server, number, int.from_bytes(row, "little"))

    def cut(self) -> int:
        """The servers that this one cannot reach, a bit each."""
        return self._links.cut()

    def set_cut(self, server: int, cut: int) -> None:
        """Note which servers a remote server cannot reach, as a bit mask: no path to them goes through it."""
        at = shape.CUT_AT + shape.CUT_BYTES * server
        self._control[at : at + shape.CUT_BYTES] = row_of(cut)
        self._links.set(server, shape.PARTIAL, on=bool(cut))

    def answered_ns(self, port: int) -> int:
        """When the last answer came, ns of the monotonic clock; 0: none yet."""
        at, *_ = shape.PROBE.unpack_from(self._control, shape.PROBES_AT + shape.PROBE.size * port)
        return int(at)

    def received(self, port: int) -> tuple[int, int]:
        """Packets that came in by a port, and probes of its neighbour's; both only grow."""
        *_, asked, _, _, _, _ = shape.PROBE.unpack_from(self._control, shape.PROBES_AT + shape.PROBE.size * port)
        at = (shape.PORT_TRAFFIC_AT + port * 2 * shape.TRAFFIC.size) // 8
        return sum(self._numbers[at :: self._stride]), asked

    def is_cut(self, server: int) -> bool:
        """Whether the last probe of a neighbour said that its cable to this server does not work."""
        return bool(self._control[shape.CUT_AT + shape.CUT_BYTES * server + self._server // 8] >> self._server % 8 & 1)

    def cut_of(self, server: int) -> int:
        """The servers that a neighbour's last probe said it cannot reach, a bit each."""
        at = shape.CUT_AT + shape.CUT_BYTES * server
        return int.from_bytes(self._control[at : at + shape.CUT_BYTES], "little")

    def noted(self, port: int) -> tuple[int, int, int, int]:
        """(sent, missed, transitions, state) as they were noted last."""
        at = shape.PROBES_AT + shape.PROBE.size * port + _NOTED_AT
        sent, missed, transitions, state = _NOTED.unpack_from(self._control, at)
        return sent, missed, transitions, state

    def note(self, port: int, sent: int, missed: int, transitions: int, state: int) -> None:
        """For status and counters, and for a prober that starts again."""
        at = shape.PROBES_AT + shape.PROBE.size * port + _NOTED_AT
        most = 0xFFFFFFFF
        _NOTED.pack_into(self._control, at, sent & most, missed & most, transitions & most, state)

    def set_silent(self, server: int, *, silent: bool) -> None:
        """Leave the direct link towards ``server`` out of all choices, or use it again."""
        self._links.set(server, shape.SILENT, on=silent)

    def set_cable_silent(self, port: int, *, silent: bool) -> None:
        """Leave one of several cables to a server out, or use it again."""
        self._control[shape.CABLES_AT + shape.CABLE.size * port + shape.SILENT] = int(silent)

    def close(self) -> None:
        """Nothing to give back: the memory is the plane's."""


def read_probes(fabric: Fabric, control: memoryview) -> dict[str, dict[str, Any]]:
    """What is known of each internal cable, by port; ``round_trip_us`` None while nothing was answered."""
    found: dict[str, dict[str, Any]] = {}
    for number, port in enumerate(fabric.ports):
        if port.kind != "internal":
            continue
        at = shape.PROBES_AT + shape.PROBE.size * number
        _, round_trip, _, _, answers, asked, sent, missed, transitions, state = shape.PROBE.unpack_from(control, at)
        found[port.name] = cable_row(round_trip, answers, asked, sent, missed, transitions, state)
    return found
