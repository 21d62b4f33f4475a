"""Impairing a lab's cables: frames lost, corrupted, doubled, held back, delayed, as they arrive at a device.

A tap (:mod:`rbops.lab.cables.taps`) chooses; what waits is released by a thread for each CPU and device, on the CPU
where it arrived, since a router's state is by core.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from rbops.common.cpulist import online_cpus
from rbops.dataplane.xdp.libbpf import BpfError, Object, possible_cpus, xdp_context
from rbops.errors import UsageError
from rbops.lab.cables.ends import End, all_ends, inside
from rbops.lab.cables.taps import Guard, Tap
from rbops.lab.manifest import Manifest
from rbops.resources import bpf_object
from rbops.selftest.device import private_namespace
from rbops.selftest.programs import Link

__all__ = ["Impairment", "Impairments", "Measured"]

_CHOICES = ("loss", "corrupt", "duplicate", "reorder")
_FRACTION = 20
_PLACES, _LINES, _ROOM = 8192, 2, 2016
_STATE = struct.Struct("<" + "32x" * len(_CHOICES) + "10Q")
_LINE = struct.Struct("<QQ")
_SLOT_BYTES = 2048
_BATCH = 64
_EARLY_S, _SHORTEST_S, _LONGEST_S = 40e-6, 50e-6, 1e-3
_MOST_S = 10.0
_FRAME_BYTES = 1514


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a cable does to the frames of one direction.

    ``loss``, ``corrupt``, ``duplicate``, ``reorder``: parts of the frames, 0 to 1. Seconds: ``delay_s`` of every frame,
    up to ``jitter_s`` more (in order on each CPU), ``hold_s`` more of those that are to come out of order.
    """

    loss: float = 0.0
    corrupt: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    hold_s: float = 0.001

    def __post_init__(self) -> None:
        """Raises UsageError for values that no cable has."""
        for name in _CHOICES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--{name} is outside 0% to 100%", code="lab.impairment")
        for name, value in (("delay", self.delay_s), ("jitter", self.jitter_s), ("hold", self.hold_s)):
            if not 0 <= value <= _MOST_S:
                raise UsageError(f"--{name} is outside 0 to {_MOST_S:.0f} s", code="lab.impairment")
        if not (self.delay_s or self.jitter_s or any(getattr(self, name) for name in _CHOICES)):
            raise UsageError(
                "nothing is impaired", code="lab.impairment", hint="for example --loss 1%, --delay 2ms, --reorder 1%"
            )

    @property
    def waits(self) -> bool:
        """Whether any frame arrives later than it came."""
        return bool(self.delay_s or self.jitter_s or self.duplicate or self.reorder)

    def variables(self) -> dict[str, bytes]:
        """The BPF program's constants."""
        steps = [round((1 << _FRACTION) / part) if (part := getattr(self, name)) else 0 for name in _CHOICES]
        times = {"delay": self.delay_s, "jitter": self.jitter_s, "hold": self.hold_s}
        return {"steps": struct.pack("<4Q", *steps)} | {
            name: round(value * 1e9).to_bytes(8, "little") for name, value in times.items()
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of the frames of one direction, counted where they arrive.

    ``overrun``: lost besides, because more waited than there was room for. ``delay_s``: mean and longest time that
    frames waited; None where none did.
    """

    end: str
    direction: Literal["in", "out"]
    frames: int
    lost: int
    corrupted: int
    duplicated: int
    reordered: int
    overrun: int
    delay_s: tuple[float, float] | None


class Impairments:
    """The cables of ``ends`` impaired in the directions given; as good as new when the context is left."""

    def __init__(
        self, manifest: Manifest, ends: Sequence[End], what: Impairment, directions: Sequence[Literal["in", "out"]]
    ) -> None:
        known = all_ends(manifest)
        self._what = what
        self._places = {
            (end if direction == "in" else known[end.peer]).name: (end.name, direction)
            for end in ends
            for direction in directions
        }
        self._ends = [known[name] for name in self._places]
        self._lines: list[_Line] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            guard = self._stack.enter_context(Guard())
            for end in self._ends:
                line = _Line(end, self._what, guard)
                self._stack.callback(line.stop)
                line.start()
                self._lines.append(line)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def follow(self) -> None:
        """Go on where programs were replaced, or servers booted."""
        for line in self._lines:
            line.tap.follow()

    def measured(self) -> tuple[Measured, ...]:
        """What was counted so far, by end and direction."""
        return tuple(line.measured(*self._places[line.tap.end.name]) for line in self._lines)


class _Line:
    """One device: its tap, and the threads that release what waits."""

    def __init__(self, end: End, what: Impairment, guard: Guard) -> None:
        self._what, self._cpus = what, possible_cpus()
        with Object(bpf_object("lab/cables", "impair.bpf.o")) as source:
            for name, value in what.variables().items():
                source.set_variable(name, value)
            places = _PLACES if what.waits else 1
            source.set_variable("cpus", self._cpus.to_bytes(4, "little"))
            source.set_variable("places", places.to_bytes(4, "little"))
            source.resize("lines", _LINES * self._cpus)
            source.resize("slots", _LINES * self._cpus * places)
            source.load()
            self._states = source.map("states")
            self._release = source.program("release")
            self._lines, self._slots = source.map("lines"), source.map("slots")
            self.tap = Tap(end, source.program("rbops_tap"), source.map("behind"), guard)
        self._end, self._places = end, places
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Attach, and release what waits from now on."""
        if self._what.waits:
            # Entering a program that is attached nowhere takes BPF_PROG_RUN two grace periods each time.
            with private_namespace() as namespace:
                self._parked = Link(self._release, 1, generic=True)
            self._namespace = weakref.finalize(self, os.close, namespace)
            for cpu in online_cpus():
                self._threads.append(threading.Thread(target=self._deliver, args=(cpu,), daemon=True))
                self._threads[-1].start()
        self.tap.follow()

    def stop(self) -> None:
        """End the threads; what still waits is lost, as on a cable that is pulled."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def measured(self, end: str, direction: Literal["in", "out"]) -> Measured:
        """The counts of all CPUs."""
        values = [_STATE.unpack_from(value) for value in self._states.lookup_cpus(bytes(4))]
        seen, lost, corrupted, duplicated, reordered, overrun, _, released, waited, _ = map(
            sum, zip(*values, strict=True)
        )
        delay = (waited / released / 1e9, max(value[9] for value in values) / 1e9) if released else None
        return Measured(end, direction, seen, lost, corrupted, duplicated, reordered, overrun, delay)

    def _deliver(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        lines, slots = self._lines.memory(), self._slots.memory()
        idle = min(_LONGEST_S, max(_SHORTEST_S, (self._what.delay_s or self._what.hold_s) / 4))
        while not self._ending.is_set():
            try:
                with inside(self._end.netns):
                    context = xdp_context(_FRAME_BYTES, socket.if_nametoindex(self._end.device))
                    self._deliver_here(cpu, lines, slots, context, idle)
            except (OSError, BpfError):  # the server is off, or its device has no program: try again
                self._ending.wait(0.1)

    def _deliver_here(self, cpu: int, lines: mmap.mmap, slots: mmap.mmap, context: bytes, idle: float) -> None:
        frame, numbers = bytes(_FRAME_BYTES), [line * self._cpus + cpu for line in range(_LINES)]
        while not self._ending.is_set():
            due = None
            pending = 0
            for number in numbers:
                head, tail = _LINE.unpack_from(lines, 64 * number)
                if head != tail:
                    pending += head - tail
                    at = _SLOT_BYTES * (number * self._places + tail % self._places)
                    first = int.from_bytes(slots[at : at + 8], "little")
                    due = first if due is None else min(due, first)
            left = idle if due is None else due / 1e9 - time.monotonic()
            if left > 0:
                time.sleep(min(idle, max(0.0, left - _EARLY_S)) if due is not None else idle)
                continue
            self._release.send_live(frame, min(_BATCH, pending), context=context)
