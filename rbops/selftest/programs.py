"""Generator and sink in the kernel: load, set up for an epoch, send, read. Standard library only."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from rbops.dataplane.xdp.ctlibbpf import library
from rbops.dataplane.xdp.libbpf import (
    BpfError,
    Map,
    Object,
    Program,
    behind,
    tap_of,
    xdp_context,
    xdp_detach,
    xdp_outermost,
)
from rbops.selftest.device import TesterDevice, packet_socket, private_namespace, send_frame, transmitted
from rbops.selftest.wire import FCS_BYTES, LARGEST_SIZE, UDP_PORT, Epoch, FrameFault

__all__ = ["MOST_STEPS", "STAMPS", "Generator", "Link", "Reception", "Sending", "Sink"]

_XDP, _GENERIC, _NATIVE = 37, 1 << 1, 1 << 2  # BPF_XDP; XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_ZERO = bytes(4)
_KINDS = 10
_SHARED = ("expected", "order", "seen", "tallies", "misdelivered", "stamps", "lengths", "recent", "lateness")
_TALLY = struct.Struct("<16Q")
_SAMPLE = struct.Struct("<QQI4x1520s")
_LATENESS = struct.Struct("<64Q64Q")
_SCHEDULE = 4096
"""The highest number of lengths that frames have in turn."""
_LATE_S = 0.0005
"""A generator that is to keep its rate at all times makes up for this much time at most."""
MOST_STEPS = 1 << 14
"""The highest number of frames whose order is given."""
STAMPS = 1 << 17
"""Of so many packets a tester notes the time."""


def _by_length(memory: mmap.mmap) -> dict[int, int]:
    """Length without FCS -> frames, of those lengths that occurred."""
    counts = memoryview(memory).cast("Q")
    return {length: counts[length] for length in range(LARGEST_SIZE - FCS_BYTES + 1) if counts[length]}


def _keys(count: int) -> bytes:
    """The keys of the first entries of an array."""
    return b"".join(index.to_bytes(4, "little") for index in range(count))


def _clear(memory: mmap.mmap) -> None:
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 0, len(memory))


class Link:
    """An XDP attachment that ends with its last descriptor: when the process dies, so does it."""

    def __init__(self, program: Program, ifindex: int, *, generic: bool = False) -> None:
        options = struct.pack("<QII", 16, _GENERIC if generic else _NATIVE, 0)
        what = f"cannot attach {program.name} to interface {ifindex}"
        hint = "is another self-test running, or another XDP program attached there?"
        fd = library().call(what, "bpf_link_create", program.fd, ifindex, _XDP, options, hint=hint)
        self.close = weakref.finalize(self, os.close, fd)


class BehindTap:
    """A program behind the taps that a lab has on a device (``rbops lab capture``), until it is closed."""

    def __init__(self, program: Program, ifindex: int, tapped: Map) -> None:
        tapped.update(_ZERO, program.fd.to_bytes(4, "little"))
        self.close = weakref.finalize(self, _leave, program, ifindex, tapped)


def _leave(program: Program, ifindex: int, tapped: Map) -> None:
    if behind(tapped) == program.id:
        tapped.delete(_ZERO)
    if xdp_outermost(ifindex)[0] == program.id:  # the tap went first, and put it in its own place
        xdp_detach(ifindex)


def _attached(program: Program, ifindex: int) -> tuple[Link | BehindTap, bool]:
    """The program at work on a device, also where the lab has taps on it, and whether in its driver.

    Raises BpfError where another program is.
    """
    try:
        return Link(program, ifindex), True
    except BpfError as error:
        if error.errno == errno.EOPNOTSUPP:
            return Link(program, ifindex, generic=True), False
        number, tapped = xdp_outermost(ifindex)[0], None
        while number and (found := tap_of(Program.from_id(number))) is not None:
            tapped, number = found, behind(found)
        # A sink that was killed stays behind a tap.
        if tapped is None or (number and Program.from_id(number).name != program.name):
            raise
        return BehindTap(program, ifindex, tapped), True


@dataclass(frozen=True, slots=True)
class Sending:
    """``frames`` were written by the generator, ``handed`` of them were taken by the device, in ``seconds``.

    ``chunks``, if wanted: begin and end of each (CLOCK_MONOTONIC, ns), and the frames written by then.
    """

    frames: int
    handed: int
    seconds: float
    chunks: tuple[tuple[int, int, int], ...] = ()


class Generator:
    """Sends test frames out of ``device``; at most ``entries`` flows over all destinations.

    ``native``: the device's driver takes frames of XDP. Otherwise they are written one by one and sent by a packet
    socket, some ten thousand a second.
    """

    def __init__(self, path: Path, device: TesterDevice, entries: int, *, native: bool = True) -> None:
        self._device = device
        with Object(path) as source:
            source.resize("flows", entries)
            source.resize("stamps", STAMPS)
            source.resize("schedule", _SCHEDULE)
            source.resize("in_order", MOST_STEPS)
            source.load()
            self.program = source.program("generate")
            self._config, self._state = source.map("config"), source.map("state")
            self._flows, self._schedule = source.map("flows"), source.map("schedule")
            self._order = source.map("in_order")
            self._lengths = source.map("lengths").memory()
            self._stamps = source.map("stamps").memory()
        self._socket = None if native else packet_socket(device.name)
        # BPF_PROG_RUN waits for two RCU grace periods (24 ms here) when it has to enter the program into
        # XDP's dispatcher and take it out again. An attachment to the loopback device of an empty
        # namespace keeps it in there: a call then costs some 15 microseconds, so short calls hold a rate.
        with private_namespace() as namespace:
            self._parked = Link(self.program, 1, generic=True)
        self._namespace = weakref.finalize(self, os.close, namespace)
        self._epoch: Epoch | None = None
        self._round, self._taken = 1, 0

    def prepare(
        self,
        epoch: Epoch,
        source: int,
        entries: bytes,
        active: int,
        burst: int,
        schedule: bytes = b"",
        order: bytes = b"",
    ) -> None:
        """Start an epoch: ``entries`` are packed headers, in the order in which they take turns.

        ``active`` of them at a time, each sending ``burst`` packets before the next ones' turn comes. ``schedule``:
        32-bit lengths that frames have in turn; without it all have the epoch's. ``order``: in place of turns, a frame
        each: entry, length, place among that entry's frames in a pass, their number (``Traffic.order``).
        """
        count = len(entries) // 64
        if count % active:
            raise BpfError(f"{count} flows cannot be split into groups of {active}", code="tester.groups")
        self._flows.update_batch(_keys(count), entries)
        period = len(schedule) // 4
        if period:
            self._schedule.update_batch(_keys(period), schedule)
        steps = len(order) // 16
        if steps:
            self._order.update_batch(_keys(steps), order)
        config = struct.pack(
            "<QQIIIIIHHIIII",
            *epoch.keys,
            epoch.magic,
            self._device.ifindex,
            count,
            active,
            burst,
            source,
            epoch.family,
            epoch.shift,
            epoch.room,
            period,
            steps,
        )
        _clear(self._stamps)
        _clear(self._lengths)
        self._config.update(_ZERO, config)
        self._state.update(_ZERO, bytes(32))
        self._epoch, self._round = epoch, steps or count * burst

    def send(
        self, frames: int, *, seconds: float, pps: float | None, chunk: int, batch: int = 64, timed: bool = False
    ) -> Sending:
        """Send ``frames``, or whole rounds over all flows for ``seconds``, at most ``pps`` a second.

        The rate is held by sleeping between calls of ``chunk`` frames. ``batch`` frames are in flight
        at once; veth's rings hold 256. ``timed``: note when each chunk was sent, and do not make up for time in which
        nothing could be sent, so that the rate is never exceeded. Raises BpfError when the kernel refuses to run the
        generator.
        """
        if self._epoch is None:
            raise BpfError("the generator was not prepared", code="tester.not-prepared")
        frame, context = bytes(self._epoch.length), xdp_context(self._epoch.length, self._device.ifindex)
        handed = self._handed()
        first = self._written()
        start, lag = time.monotonic(), 0.0
        done, chunks = 0, list[tuple[int, int, int]]()
        while done < frames:
            if time.monotonic() - start >= seconds:
                # Time is up; the round is ended, so that every flow carries as many packets, and no other begins.
                frames, seconds = min(frames, done + -done % self._round), float("inf")
                continue
            before = time.monotonic_ns()
            self._run(frame, min(chunk, frames - done), context, batch)
            done = self._written() - first
            if timed:
                chunks.append((before, time.monotonic_ns(), done))
            if pps:
                ahead = start + lag + done / pps - time.monotonic()
                lag -= min(0.0, ahead + _LATE_S) if timed else 0.0
                time.sleep(max(0.0, ahead))
        elapsed = time.monotonic() - start
        return Sending(done, self._handed() - handed, elapsed, tuple(chunks))

    def stamps(self, count: int) -> bytes:
        """When the packets were written of which times are noted: ``count`` of 8 bytes, ns; 0 for none."""
        return self._stamps[: 8 * count]

    def lengths(self) -> dict[int, int]:
        """Frames written by length without FCS; empty where all have the epoch's."""
        return _by_length(self._lengths)

    def _handed(self) -> int:
        return transmitted(self._device.name) if self._socket is None else self._taken

    def _run(self, frame: bytes, count: int, context: bytes, batch: int) -> None:
        if self._socket is not None:
            for _ in range(count):
                self._taken += send_frame(self._socket, self.program.run(frame, context=context).frame)
            return
        try:
            self.program.send_live(frame, count, context=context, batch=batch)
        except BpfError as error:
            if error.errno != errno.EINTR:
                raise

    def _written(self) -> int:
        value = self._state.lookup(_ZERO)
        return int.from_bytes((value or bytes(8))[:8], "little")


@dataclass(frozen=True, slots=True)
class Reception:
    """What one sink found in an epoch, by source tester.

    ``delivered[s]`` counts different packets of source s that arrived where they were meant to;
    ``faults[s]`` by ``FrameFault`` 0 to 9; ``misdelivered`` (source, planned destination) -> packets;
    ``samples`` the first frame of each kind of fault and when it came (CLOCK_MONOTONIC, ns); ``lateness``: late packets
    by extent, then by degree (:mod:`rbops.selftest.reordering`); ``lengths`` packets by length without FCS,
    empty where all have the epoch's.
    """

    delivered: tuple[int, ...]
    faults: tuple[tuple[int, ...], ...]
    misdelivered: dict[tuple[int, int], int]
    samples: dict[FrameFault, tuple[int, bytes]]
    stale: int
    passed: int
    lengths: dict[int, int]
    lateness: tuple[int, ...]


class Sink:
    """Checks what arrives on ``device``; room for ``testers`` sources, ``entries`` flows, ``words`` * 64 packets."""

    def __init__(self, path: Path, device: TesterDevice, *, testers: int, entries: int, words: int) -> None:
        self._testers = testers
        with Object(path) as source:
            for name, size in (
                ("expected", entries),
                ("order", entries),
                ("seen", words),
                ("tallies", testers),
                ("recent", entries),
                ("lateness", testers),
                ("stamps", STAMPS),
            ):
                source.resize(name, size)
            source.resize("misdelivered", testers * testers)
            source.load()
            program = source.program("check")
            self._maps = {name: source.map(name) for name in source.map_names()}
        self._memory = {name: self._maps[name].memory() for name in _SHARED}
        self._words, self._epoch = 0, Epoch(0, (0, 0), 0, 0)
        self.link, self.native = _attached(program, device.ifindex)

    def expect(self, epoch: Epoch, own: int, words: int, entries: Mapping[int, bytes], sources: Sequence[str]) -> None:
        """Start an epoch: ``entries`` are packed headers of each source's flows, ``words`` the bitmap's per flow.

        ``sources`` are the testers' addresses. Raises BpfError when there is no room for it.
        """
        count = self._testers * epoch.flows
        if count * words > self._maps["seen"].max_entries or count > self._maps["expected"].max_entries:
            raise BpfError(f"the sink has no room for {count} flows of {words * 64} packets", code="tester.room")
        length = 0 if epoch.mixed else epoch.length
        shape = (epoch.magic, length, self._testers, epoch.flows, words, own, UDP_PORT.to_bytes(2, "big"))
        rest = (epoch.shift, epoch.room, epoch.family)
        self._maps["config"].update(_ZERO, struct.pack("<QQIIIIIH2sIII4x", *epoch.keys, *shape, *rest))
        for memory in self._memory.values():
            _clear(memory)
        expected = self._memory["expected"]
        for source, packed in entries.items():
            expected[64 * epoch.flows * source : 64 * epoch.flows * source + len(packed)] = packed
        for kind in FrameFault:
            self._maps["samples"].update(int(kind).to_bytes(4, "little"), bytes(_SAMPLE.size))
        for index, address in enumerate(sources):
            self._maps["sources"].update(ip_address(address).packed.ljust(16, b"\0"), index.to_bytes(4, "little"))
        totals = self._maps["totals"]
        totals.update(_ZERO, bytes(len(totals.lookup(_ZERO) or b"")))
        self._words, self._epoch = words, epoch

    def rest(self) -> None:
        """Leave all frames to the kernel until the next epoch."""
        self._maps["config"].update(_ZERO, bytes(len(self._maps["config"].lookup(_ZERO) or b"")))

    def stamps(self, count: int) -> bytes:
        """When packets came first of which times are noted: ``count`` of 8 bytes, ns; 0 for none."""
        return self._memory["stamps"][: 8 * count]

    def frames(self) -> int:
        """Test frames of this epoch that have arrived, right or wrong."""
        return self._total(0)

    def reception(self) -> Reception:
        """Everything that was found in this epoch."""
        samples = {}
        for kind in FrameFault:
            value = self._maps["samples"].lookup(int(kind).to_bytes(4, "little")) or bytes(_SAMPLE.size)
            taken, when, length, frame = _SAMPLE.unpack(value)
            if taken:
                samples[kind] = (when, frame[:length])
        tallies, wrong = self._memory["tallies"], memoryview(self._memory["misdelivered"]).cast("Q")
        return Reception(
            delivered=tuple(self._delivered(source) for source in range(self._testers)),
            faults=tuple(_TALLY.unpack_from(tallies, _TALLY.size * source)[:_KINDS] for source in range(self._testers)),
            misdelivered={
                divmod(at, self._testers): wrong[at] for at in range(self._testers * self._testers) if wrong[at]
            },
            samples=samples,
            stale=self._total(1),
            passed=self._total(2),
            lengths=_by_length(self._memory["lengths"]),
            lateness=tuple(map(sum, zip(*_LATENESS.iter_unpack(self._memory["lateness"]), strict=True))),
        )

    def _delivered(self, source: int) -> int:
        size = self._epoch.flows * self._words * 8
        return int.from_bytes(self._memory["seen"][source * size : (source + 1) * size], "little").bit_count()

    def _total(self, field: int) -> int:
        values = self._maps["totals"].lookup_cpus(_ZERO)
        return sum(int.from_bytes(value[8 * field : 8 * field + 8], "little") for value in values)
