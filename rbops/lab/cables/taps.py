"""Taps on devices of a lab: put before the XDP program that is there, and taken away again whatever happens.

Standard attachments outlive their process, so a process of its own (:mod:`rbops.lab.cables.guard`) takes them away when
the one that made them ends, also when that is killed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rbops.dataplane.xdp.libbpf import (
    BpfError,
    Map,
    Program,
    behind,
    tap_of,
    xdp_attach,
    xdp_detach,
    xdp_outermost,
)
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.lab.cables.ends import End, inside

__all__ = ["Guard", "Tap", "release"]

_BUSY = 16
_FIRST = bytes(4)


class Guard:
    """The process that takes taps away; leaving the context waits until it has."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rbops.lab.cables.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def watch(self, end: End, tap: Program, kept: Map) -> None:
        """Have a tap taken away at the end; before it is attached. Raises CheckFailed when the guard has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin and stdout:
            stdin.write(f"{end.netns} {end.device} {tap.id} {kept.id}\n".encode())
            stdin.flush()
            if stdout.readline() != b"kept\n":
                raise CheckFailed("the process that is to take the taps away has ended", code="lab.tap-guard")


class Tap:
    """A tap on the device of one end: ``program``, which keeps what is behind it in ``kept``."""

    def __init__(self, end: End, program: Program, kept: Map, guard: Guard) -> None:
        self.end, self._program, self._kept = end, program, kept
        self._before: bool | None = None
        guard.watch(end, program, kept)

    def follow(self) -> bool:
        """Put it on the device where it is not; True when it is there.

        A program that replaced it goes behind it. On a device that lost its program, as in a server that boots, it
        waits until there is one again. False while the server is off. Raises CheckFailed when another process holds
        the device's program.
        """
        if not Path("/run/netns", self.end.netns).exists():
            return False
        with inside(self.end.netns):
            try:
                ifindex = socket.if_nametoindex(self.end.device)
            except OSError:
                return False
            number, _ = xdp_outermost(ifindex)
            if self._within(number):
                return True
            if self._before and not number:
                return False
            self._attach(ifindex, number)
        self._before = bool(number)
        return True

    def _within(self, number: int) -> bool:
        """Whether this tap is among those that a frame meets."""
        while number:
            if number == self._program.id:
                return True
            kept = tap_of(Program.from_id(number))
            number = behind(kept) if kept else 0
        return False

    def _attach(self, ifindex: int, number: int) -> None:
        try:
            if number:
                present = Program.from_id(number)
                self._kept.update(_FIRST, present.fd.to_bytes(4, "little"))
                xdp_attach(ifindex, self._program, replaces=present)
            else:
                self._kept.delete(_FIRST)
                xdp_attach(ifindex, self._program)
        except BpfError as error:
            where = Where(server=self.end.node, device=self.end.port)
            if error.errno == _BUSY:
                raise CheckFailed(
                    "another process holds the XDP program of this device",
                    code="lab.tap-busy",
                    where=where,
                    hint="a self-test that runs? Begin before it does",
                ) from error
            raise Mismatch(error.message, code="lab.tap", where=where, hint=error.hint) from error


def release(netns: str, device: str, tap: Program, kept: Map) -> None:
    """Take a tap away, with what was behind it in its place. Can be repeated; nothing is done where it is not."""
    if not Path("/run/netns", netns).exists():
        return
    with inside(netns):
        try:
            ifindex = socket.if_nametoindex(device)
        except OSError:
            return
        number, _ = xdp_outermost(ifindex)
        after = behind(kept)
        if number == tap.id:
            if after:
                xdp_attach(ifindex, Program.from_id(after), replaces=tap)
            else:
                xdp_detach(ifindex)
            return
        while number and (outer := tap_of(Program.from_id(number))) is not None:
            number = behind(outer)
            if number == tap.id:
                if after:
                    program = Program.from_id(after)
                    outer.update(_FIRST, program.fd.to_bytes(4, "little"))
                else:
                    outer.delete(_FIRST)
                return
