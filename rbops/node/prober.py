"""The process that probes: real-time priority, one system call a round for all cables.

A process of its own, so that neither the watch's other work nor the interpreter's lock makes it late.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread

from rbops.dataplane.base import Probeable
from rbops.errors import Mismatch
from rbops.node.liveness import DEAD, Cable, Judge, Timing, cables
from rbops.node.reach import Reach, Said
from rbops.node.schema.dataplane import Fabric

__all__ = ["probe", "start"]

_PR_SET_PDEATHSIG = 1
_SIOCGIFHWADDR = 0x8927
_SOL_PACKET, _QDISC_BYPASS = 263, 20
_LOOK_NS = 500_000_000
_NOT_LOADED_S = 0.5
_FAILURE_EXIT = 1


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr of one probe."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


class _Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


class _Address(ctypes.Structure):
    """struct sockaddr_ll."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("protocol", ctypes.c_uint16),
        ("index", ctypes.c_int),
        ("hardware", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("address_bytes", ctypes.c_uint8),
        ("address", ctypes.c_uint8 * 8),
    )


class Sender:
    """Sends one frame out of each device: the devices' own beginnings, and a rest that all share."""

    HEAD = 14

    def __init__(self, devices: Sequence[tuple[int, bytes]], bytes_each: int) -> None:
        """``devices``: interface index and MAC."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with suppress(OSError):
            self._socket.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        count = len(devices)
        self.macs = [mac for _, mac in devices]
        self._heads = [ctypes.create_string_buffer(self.HEAD) for _ in devices]
        self._rest = ctypes.create_string_buffer(bytes_each - self.HEAD)
        self._addresses = (_Address * count)()
        self._parts = (_Part * (2 * count))()
        self._messages = (_Message * count)()
        for at, (index, _) in enumerate(devices):
            self._addresses[at].family, self._addresses[at].index = socket.AF_PACKET, index
            self._parts[2 * at] = _Part(ctypes.addressof(self._heads[at]), self.HEAD)
            self._parts[2 * at + 1] = _Part(ctypes.addressof(self._rest), bytes_each - self.HEAD)
            message = self._messages[at].header
            message.name = ctypes.addressof(self._addresses) + at * ctypes.sizeof(_Address)
            message.name_bytes = ctypes.sizeof(_Address)
            message.parts = ctypes.addressof(self._parts) + 2 * at * ctypes.sizeof(_Part)
            message.part_count = 2
        self._library = ctypes.CDLL(None, use_errno=True)

    def head(self, at: int, frame: bytes) -> None:
        """The beginning of what leaves by a device."""
        self._heads[at].raw = frame[: self.HEAD]

    def send(self, frame: bytes) -> list[int]:
        """Send; the places of devices whose frame did not leave."""
        self._rest.raw = frame[self.HEAD :]
        failed, at, count = [], 0, len(self._heads)
        while at < count:
            first = ctypes.byref(self._messages, at * ctypes.sizeof(_Message))
            done = self._library.sendmmsg(self._socket.fileno(), first, count - at, socket.MSG_DONTWAIT)
            if done <= 0:
                failed.append(at)
            at += max(done, 1)
        return failed

    def close(self) -> None:
        """No more frames."""
        self._socket.close()


def start(fabric: Fabric, devices: Mapping[str, str], plane: Probeable) -> None:
    """Probe in a process of its own until this one ends; when the prober ends, so does this one (and systemd starts
    both again).
    """
    child = os.fork()
    if child == 0:
        status = _FAILURE_EXIT
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _hurry()
            probe(fabric, devices, plane)
        except Exception as error:  # noqa: BLE001 - nothing of this copy of the process may run on
            sys.stderr.write(f"prober: {error!r}\n")
        finally:
            os._exit(status)
    Thread(target=_follow, args=(child,), daemon=True).start()


def _follow(child: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
    os._exit(_FAILURE_EXIT)


def _hurry() -> None:
    """Before other programs, where that is allowed; and no pauses of the interpreter's own."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()


def probe(fabric: Fabric, devices: Mapping[str, str], plane: Probeable, *, rounds: int | None = None) -> None:
    """Probe all internal cables until killed, or for ``rounds``; starts anew whenever the data plane does."""
    while rounds is None or rounds > 0:
        known = plane.instance()
        try:
            judge_of = cables(fabric)
            prober = None if known is None else _Prober(fabric, devices, plane, judge_of)
        except (Mismatch, OSError):
            prober = None  # it, or a device, is just being made anew
        if prober is None:
            time.sleep(_NOT_LOADED_S)
            rounds = None if rounds is None else rounds - 1
            continue
        done = prober.run(lambda known=known: plane.instance() == known, rounds)  # type: ignore[misc]
        rounds = None if rounds is None else rounds - done


def _mac(name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        return fcntl.ioctl(ask, _SIOCGIFHWADDR, struct.pack("16s16x", name.encode()))[18:24]


class _Prober:
    """One load of the data plane, and the devices as they are now."""

    def __init__(
        self, fabric: Fabric, devices: Mapping[str, str], plane: Probeable, all_cables: Sequence[Cable]
    ) -> None:
        self._cables = all_cables
        self._probing = plane.probing()
        self._interval_ns = Timing.of(fabric).interval_ns
        self._judge = Judge(all_cables, self._probing, Timing.of(fabric))
        names = [fabric.ports[cable.port].name for cable in all_cables]
        self._names = [devices.get(name, name) for name in names]
        self._found = [(socket.if_nametoindex(name), _mac(name)) for name in self._names]
        self._servers = fabric.servers
        self._near = frozenset(cable.peer for cable in all_cables)
        self._reach = Reach(fabric.server, int(time.time())) if fabric.relays else None
        for server in set(range(fabric.servers)) - self._near if self._reach else ():
            self._probing.set_cut(server, 0)
        said = self._reach.next() if self._reach else None
        frames = [self._probing.frame(mac, 0, 0, said) for _, mac in self._found]
        self._sender = Sender(self._found, len(frames[0]) if frames else Sender.HEAD)
        for at, frame in enumerate(frames):
            self._sender.head(at, frame)

    def run(self, is_same: Callable[[], bool], rounds: int | None) -> int:
        """Until another load of the data plane is there, or other devices; how many rounds."""
        done, looked = 0, time.monotonic_ns()
        due = looked
        try:
            while rounds is None or done < rounds:
                now = time.monotonic_ns()
                if self._judge.suspects() or now - looked > _LOOK_NS:
                    looked = now
                    if not is_same() or self._devices_changed():
                        break
                for cable in self._judge.round(now):
                    self._say(cable)
                self._send(done)
                done += 1
                due = max(due + self._interval_ns, now + self._interval_ns // 2)
                time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        finally:
            self._sender.close()
            self._probing.close()
        return done

    def _send(self, number: int) -> None:
        if not self._cables:
            return
        said = self._say_and_hear(self._reach) if self._reach else None
        frame = self._probing.frame(self._sender.macs[0], number & 0xFFFFFFFF, time.monotonic_ns(), said)
        self._judge.sent(self._cables[at].port for at in self._sender.send(frame))

    def _say_and_hear(self, reach: Reach) -> Said:
        """What is new of servers that are no neighbours is for the data plane; neighbours' own it has noted itself."""
        reach.set_own(self._probing.cut())
        heard = (self._probing.said(cable.port) for cable in self._cables)
        for said in reach.hear(one for one in heard if one is not None and one.server < self._servers):
            if said.server not in self._near:
                self._probing.set_cut(said.server, said.cut)
        return reach.next()

    def _devices_changed(self) -> bool:
        try:
            return any(
                socket.if_nametoindex(name) != index for name, (index, _) in zip(self._names, self._found, strict=True)
            )
        except OSError:
            return True

    def _say(self, cable: Cable) -> None:
        """For the journal."""
        at = list(self._cables).index(cable)
        state = "does not answer: left out" if cable.state == DEAD else "answers again: used"
        sys.stderr.write(f"{self._names[at]}: the far end {state}\n")
        sys.stderr.flush()
