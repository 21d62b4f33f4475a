"""One server's part in finding out what is cabled to what: frames of an EtherType of their own, out of every port.

The controller holds a conversation with one such process on each server, in lines of JSON: it says which
ports, receives ``ready`` when all are up and listened to, sends ``go`` when every server is ready, and receives what
came in where. Ports that were down are up for as long as that takes. The end of the input, a signal or any
error ends the process, and ports are restored first.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from rbops.errors import CheckFailed, Locked, Mismatch, Where
from rbops.node.devices import management
from rbops.node.system import System

__all__ = ["ETHERTYPE", "Origin", "Request", "converse", "frame", "origin_of"]

ETHERTYPE = 0x88B5
"""IEEE 802's local experimental EtherType 1."""

_MAGIC = b"rbops-cable\x01"
_RUN_BYTES = 16
_SHORTEST = 60
_LONGEST = 2048
_BROADCAST = b"\xff" * 6
# Broadcast, so that no filter of NIC or bridge blocks it; a few, because the first ones after a link
# came up may be lost.
_FRAMES = 5
_INTERVAL_S = 0.2
_MOST_ORIGINS = 64
_LIFETIME_S = 90.0
_LOCK = "\0rbops-cabling"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The port that a frame left by."""

    server: str
    device: str


@dataclass(frozen=True, slots=True)
class Request:
    """``run`` marks the frames of one check; listen ``listen_s`` after the go; wait ``carrier_s`` for links."""

    run: bytes
    server: str
    devices: tuple[str, ...]
    carrier_s: float
    listen_s: float


@dataclass(slots=True)
class _Port:
    device: str
    link: socket.socket
    sent: int = 0
    error: str | None = None
    strangers: int = 0
    received: dict[Origin, int] = field(default_factory=dict)


def frame(run: bytes, source: bytes, origin: Origin) -> bytes:
    """A whole frame without FCS: broadcast, with the run and the port it leaves by."""
    names = b"".join(bytes([len(name)]) + name for name in (origin.server.encode(), origin.device.encode()))
    return (_BROADCAST + source + struct.pack("!H", ETHERTYPE) + _MAGIC + run + names).ljust(_SHORTEST, b"\0")


def origin_of(data: bytes, run: bytes) -> Origin | None:
    """Where a frame of this run left; None for any other frame."""
    head = 14 + len(_MAGIC)
    if data[12:head] != struct.pack("!H", ETHERTYPE) + _MAGIC or data[head : head + _RUN_BYTES] != run:
        return None
    names, at = [], head + _RUN_BYTES
    for _ in range(2):
        length = data[at] if at < len(data) else 0
        name = data[at + 1 : at + 1 + length]
        if not length or len(name) != length or not name.isascii():
            return None
        names.append(name.decode("ascii"))
        at += 1 + length
    return Origin(*names)


def converse(system: System, environment: Mapping[str, str]) -> int:
    """Serve one check over standard input and output.

    Raises Mismatch (3) for a device that is not there or carries management, Locked (7) while another
    check is at work here, CheckFailed (1) when the controller closes the connection.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to act on
    signal.setitimer(signal.ITIMER_REAL, _LIFETIME_S)
    request = _request(_line())
    _check(system, environment, request.devices)
    with ExitStack() as stack:
        stack.enter_context(_alone())
        ports = [_Port(device, stack.enter_context(_listener(device))) for device in request.devices]
        stack.enter_context(_raised(system, request.devices))
        _wait_for_carrier(system, request)
        _reply({"ready": {device: _carrier(system, device) for device in request.devices}})
        if _line() != "go":
            raise CheckFailed("unexpected request, expected go", code="cabling.request")
        _exchange(ports, request)
        carriers = {device: _carrier(system, device) for device in request.devices}
    _reply({"ports": [_report(port, carrier=carriers[port.device]) for port in ports]})
    return 0


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise CheckFailed(f"ended by {signal.Signals(signum).name}, the ports are restored", code="cabling.signal")


def _reply(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _line() -> str:
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        raise CheckFailed("the controller closed the connection, the ports are restored", code="cabling.closed")
    return line.strip()


def _request(line: str) -> Request:
    value = json.loads(line)
    return Request(
        bytes.fromhex(value["run"]),
        value["server"],
        tuple(value["devices"]),
        float(value["carrier_s"]),
        float(value["listen_s"]),
    )


def _check(system: System, environment: Mapping[str, str], devices: Sequence[str]) -> None:
    reasons = management(system, environment)
    for device in devices:
        if not system.names(f"/sys/class/net/{device}"):
            raise Mismatch("the device does not exist", code="cabling.no-device", where=Where(device=device))
        if device in reasons:
            raise Mismatch(
                f"the device is the management NIC: {reasons[device]}",
                code="cabling.management",
                where=Where(device=device),
            )


@contextmanager
def _alone() -> Iterator[None]:
    """An abstract socket as a lock: it leaves nothing behind, however the process ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as lock:
        try:
            lock.bind(_LOCK)
        except OSError as error:
            raise Locked(
                "another cabling check is running on this server", code="cabling.locked", hint="wait until it has ended"
            ) from error
        yield


def _listener(device: str) -> socket.socket:
    """Bound to the EtherType at the device, so that no other packet reaches this process."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        link.bind((device, ETHERTYPE))
    except OSError:
        link.close()
        raise
    link.settimeout(0)
    return link


@contextmanager
def _raised(system: System, devices: Sequence[str]) -> Iterator[None]:
    """Devices that are down are up inside, without IPv6: a check should say nothing of its own accord there."""
    with ExitStack() as stack:
        for device in devices:
            if not _up(system, device):
                stack.enter_context(_one_raised(system, device))
        yield
        # From here on nothing may come between: a second signal would leave ports up.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _one_raised(system: System, device: str) -> Iterator[None]:
    path = f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6"
    quiet = system.read(path)
    try:
        if quiet == "0":
            system.write(path, "1")
        done = system.run(("ip", "link", "set", "dev", device, "up"))
        if done.returncode:
            raise Mismatch(
                f"the device cannot be set up: {done.stderr.strip()}",
                code="cabling.set-up",
                where=Where(device=device),
            )
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        system.run(("ip", "link", "set", "dev", device, "down"))
        if quiet == "0":
            system.write(path, "0")


def _up(system: System, device: str) -> bool:
    return bool(int(system.read(f"/sys/class/net/{device}/flags") or "0", 16) & 1)


def _carrier(system: System, device: str) -> bool:
    return system.read(f"/sys/class/net/{device}/carrier") == "1"


def _wait_for_carrier(system: System, request: Request) -> None:
    deadline = time.monotonic() + request.carrier_s
    while time.monotonic() < deadline and not all(_carrier(system, device) for device in request.devices):
        if select.select([sys.stdin], [], [], 0.1)[0]:
            # Nothing is due before `ready`: the controller has gone.
            _line()
            raise CheckFailed("the controller closed the connection", code="cabling.closed")


def _exchange(ports: Sequence[_Port], request: Request) -> None:
    """Send a few frames out of every port, and take in what comes until the time is up."""
    start = time.monotonic()
    by_link = {port.link: port for port in ports}
    sent = 0
    while (now := time.monotonic() - start) < request.listen_s:
        if sent < _FRAMES and now >= sent * _INTERVAL_S:
            for port in ports:
                _send(port, request)
            sent += 1
        for link in select.select(list(by_link), [], [], 0.05)[0]:
            _take(by_link[link], request.run)


def _send(port: _Port, request: Request) -> None:
    source = port.link.getsockname()[4]
    try:
        port.link.send(frame(request.run, source, Origin(request.server, port.device)))
        port.sent += 1
    except OSError as error:
        port.error = os.strerror(error.errno) if error.errno else str(error)


def _take(port: _Port, run: bytes) -> None:
    try:
        data, (_, _, kind, *_) = port.link.recvfrom(_LONGEST)
    except OSError as error:
        # A port that went down reports it once; what it received before counts.
        port.error = os.strerror(error.errno) if error.errno else str(error)
        return
    if kind == socket.PACKET_OUTGOING:
        return
    origin = origin_of(data, run)
    if origin is None:
        port.strangers += 1
    elif origin in port.received or len(port.received) < _MOST_ORIGINS:
        port.received[origin] = port.received.get(origin, 0) + 1


def _report(port: _Port, *, carrier: bool) -> dict[str, Any]:
    return {
        "device": port.device,
        "carrier": carrier,
        "sent": port.sent,
        "error": port.error,
        "strangers": port.strangers,
        "heard": [[origin.server, origin.device, count] for origin, count in sorted(port.received.items())],
    }
