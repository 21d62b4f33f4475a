"""Capturing every frame on a lab's cables, also those that XDP redirects and packet sockets never see.

A frame is copied where it arrives, by a tap before the device's XDP program (:mod:`rbops.lab.cables.taps`). What
arrives at the far end of a cable was sent by the near one, so both directions of a port are complete with taps at the
two ends of its cable.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self

from rbops.capture.pcapng import PcapngWriter
from rbops.dataplane.xdp.libbpf import Map, Object
from rbops.lab.cables.ends import End, all_ends
from rbops.lab.cables.ring import Ring
from rbops.lab.cables.taps import Guard, Tap
from rbops.lab.manifest import Manifest
from rbops.resources import bpf_object

__all__ = ["LARGEST", "Capture", "Seen"]

LARGEST = 16384
"""Bytes of a frame that can be kept."""

_FRAME = struct.Struct("<QIIII")
_SHARED = ("scratch", "frames", "missed")


@dataclass(frozen=True, slots=True)
class Seen:
    """Frames of one end and direction: in the file, and missed because they came faster than they were written."""

    end: str
    direction: Literal["in", "out"]
    frames: int
    missed: int


class _Frame(NamedTuple):
    time_ns: int
    watch: int
    length: int
    octets: bytes


@dataclass(slots=True)
class _Watch:
    """A device at which frames arrive, and the interfaces of the file that they belong to."""

    end: End
    number: int
    interfaces: tuple[tuple[Literal["in", "out"], int], ...]
    tap: Tap | None = None
    written: int = 0


class Capture:
    """Capture on ``ends`` of a lab into ``writer``: call :meth:`follow` and :meth:`take` again and again.

    The taps go with the context.
    """

    def __init__(
        self, manifest: Manifest, ends: Sequence[End], writer: PcapngWriter, *, snaplen: int = LARGEST
    ) -> None:
        self._writer, self._snaplen = writer, min(snaplen, LARGEST)
        known = all_ends(manifest)
        self._interfaces = {end.name: writer.interface(end.name, f"lab {manifest.name}, {end.device}") for end in ends}
        arriving = dict.fromkeys(name for end in ends for name in (end.name, end.peer))
        self._watches = [
            _Watch(known[name], number, tuple(self._sides(known[name]))) for number, name in enumerate(arriving)
        ]
        # From the kernel's clock to that of files; steps of the clock during a capture are not followed.
        self._offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._maps: dict[str, Map] = {}
        self._stack = ExitStack()
        self._ring: Ring | None = None
        self.frames = 0

    def __enter__(self) -> Self:
        with self._stack:
            guard = self._stack.enter_context(Guard())
            for watch in self._watches:
                watch.tap = self._tap(watch, guard)
            self._ring = Ring(self._maps["frames"])
            for watch in self._watches:
                if watch.tap:
                    watch.tap.follow()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.detach()

    def detach(self) -> None:
        """Take the taps away; what they copied can still be taken."""
        self._stack.close()

    def follow(self) -> None:
        """Put taps back where programs were replaced, or servers booted."""
        for watch in self._watches:
            if watch.tap:
                watch.tap.follow()

    def take(self, most: int | None = None) -> None:
        """Write what has come in, in order of time; no more than ``most`` frames in all."""
        frames = sorted(self._arrived())
        if most is not None:
            frames = frames[: most - self.frames]
        for frame in frames:
            watch = self._watches[frame.watch]
            watch.written += 1
            for direction, interface in watch.interfaces:
                self._writer.packet(interface, frame.time_ns, frame.octets, length=frame.length, direction=direction)
        self.frames += len(frames)

    def finish(self) -> tuple[Seen, ...]:
        """Write the statistics; returns what each end and direction had."""
        now = time.clock_gettime_ns(time.CLOCK_REALTIME)
        found = []
        for name, interface in self._interfaces.items():
            sides = [
                Seen(name, direction, watch.written, self._missed(watch))
                for direction in ("in", "out")
                for watch in self._watches
                if (direction, interface) in watch.interfaces
            ]
            missed = sum(side.missed for side in sides)
            self._writer.statistics(interface, now, sum(side.frames for side in sides) + missed, missed)
            found += sides
        return tuple(found)

    def _sides(self, end: End) -> Iterator[tuple[Literal["in", "out"], int]]:
        """What arrives at an end was sent by the other one."""
        if end.peer in self._interfaces:
            yield "out", self._interfaces[end.peer]
        if end.name in self._interfaces:
            yield "in", self._interfaces[end.name]

    def _tap(self, watch: _Watch, guard: Guard) -> Tap:
        with Object(bpf_object("lab/cables", "capture.bpf.o")) as source:
            source.set_variable("watch", watch.number.to_bytes(4, "little"))
            source.set_variable("snaplen", self._snaplen.to_bytes(4, "little"))
            for name, made in self._maps.items():
                source.reuse(name, made)
            source.load()
            self._maps = self._maps or {name: source.map(name) for name in _SHARED}
            return Tap(watch.end, source.program("rbops_tap"), source.map("behind"), guard)

    def _arrived(self) -> Iterator[_Frame]:
        for record in self._ring.records() if self._ring else ():
            moment, watch, length, captured, _ = _FRAME.unpack_from(record)
            yield _Frame(moment + self._offset, watch, length, bytes(record[_FRAME.size : _FRAME.size + captured]))

    def _missed(self, watch: _Watch) -> int:
        values = self._maps["missed"].lookup_cpus(watch.number.to_bytes(4, "little"))
        return sum(int.from_bytes(value, "little") for value in values)
