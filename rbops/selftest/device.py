"""A tester's device as the kernel has it: namespace, queues, MAC, statistics, address resolution.

Standard library only. Source: netdevice(7), packet(7), setns(2), linux/ethtool.h, RFC 826.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbops.errors import Mismatch, Where
from rbops.selftest.wire import mac_bytes, mac_text

__all__ = [
    "TesterDevice",
    "enter_namespace",
    "packet_socket",
    "private_namespace",
    "resolve",
    "send_frame",
    "statistics",
    "transmitted",
]

_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_SIOCETHTOOL, _GSTRINGS, _GSTATS, _GSSET_INFO, _SET_STATS = 0x8946, 0x1B, 0x1D, 0x37, 1
_NAME_BYTES = 32
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
_ETH_ARP = 0x0806
_SENT = re.compile(r"tx_queue_\d+_xdp_xmit|tx\d+_xdp_tx|tx_queue_\d+_xdp_tx|tx_xdp_xmit")
_REFUSED = re.compile(r"tx\d+_xdp_tx_drops|tx_queue_\d+_xdp_tx_drops")


@dataclass(frozen=True, slots=True)
class TesterDevice:
    """``rx_queues`` counts those in use: frames redirected to the device spread over them by CPU id."""

    name: str
    ifindex: int
    mac: str
    mtu: int
    rx_queues: int

    @classmethod
    def named(cls, name: str) -> TesterDevice:
        """The device ``name`` of this namespace, read from /sys; raises Mismatch when there is none."""
        root = Path("/sys/class/net") / name
        try:
            ifindex = socket.if_nametoindex(name)
            return cls(
                name=name,
                ifindex=ifindex,
                mac=(root / "address").read_text().strip(),
                mtu=int((root / "mtu").read_text()),
                rx_queues=len(list((root / "queues").glob("rx-*"))),
            )
        except OSError as error:
            raise Mismatch(
                f"the tester has no such device: {error}",
                code="tester.no-device",
                where=Where(device=name),
                hint="check that the lab is up",
            ) from error


def _libc(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def enter_namespace(name: str) -> None:
    """Enter the network namespace ``name`` (of ip-netns) with a /sys of its own.

    Raises Mismatch when there is no such namespace. Only for a process of its own: it cannot return.
    """
    path = Path("/run/netns") / name
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Mismatch(
            f"network namespace {name}: {error.strerror}", code="tester.no-namespace", hint="check that the lab is up"
        ) from error
    try:
        _libc("setns", handle, _CLONE_NEWNET)
    finally:
        os.close(handle)
    # /sys shows the namespace that it was mounted from; the mount stays private to this process.
    _libc("unshare", _CLONE_NEWNS)
    _libc("mount", None, b"/", None, _MS_REC | _MS_SLAVE, None)
    _libc("mount", b"sysfs", b"/sys", b"sysfs", 0, None)


@contextmanager
def private_namespace() -> Iterator[int]:
    """Be in a new, empty network namespace for a while; gives a descriptor that keeps it, for the caller to close.

    Raises OSError without CAP_SYS_ADMIN.
    """
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _libc("unshare", _CLONE_NEWNET)
        try:
            yield os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _libc("setns", back, _CLONE_NEWNET)
    finally:
        os.close(back)


def statistics(name: str) -> dict[str, int]:
    """``ethtool -S``: what the driver counts; raises OSError when it does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        count = array.array("I", [_GSSET_INFO, 0, 1 << _SET_STATS, 0, 0])
        _ethtool(sock, name, count)
        number = count[4]
        strings = array.array("B", struct.pack("III", _GSTRINGS, _SET_STATS, number) + bytes(_NAME_BYTES * number))
        _ethtool(sock, name, strings)
        values = array.array("B", struct.pack("II", _GSTATS, number) + bytes(8 * number))
        _ethtool(sock, name, values)
    names = strings.tobytes()[12:]
    keys = [names[at : at + _NAME_BYTES].split(b"\0")[0].decode() for at in range(0, len(names), _NAME_BYTES)]
    return dict(zip(keys, struct.unpack(f"{number}Q", values.tobytes()[8:]), strict=True))


def _ethtool(sock: socket.socket, name: str, buffer: array.array[int]) -> None:
    request = struct.pack("16sP16x", name.encode(), buffer.buffer_info()[0])
    fcntl.ioctl(sock, _SIOCETHTOOL, request)


def transmitted(name: str) -> int:
    """How many XDP frames the device has taken for sending so far.

    On veth that is ``tx_queue_N_xdp_xmit``, on virtio_net ``tx_queue_N_xdp_tx`` less its drops, on
    mlx5 ``tx_xdp_xmit``: exact. Other drivers count all frames together in the interface's statistics.
    """
    try:
        counts = statistics(name)
    except OSError:
        counts = {}
    if any(_SENT.fullmatch(key) for key in counts):
        sent = sum(value for key, value in counts.items() if _SENT.fullmatch(key))
        return sent - sum(value for key, value in counts.items() if _REFUSED.fullmatch(key))
    return int(Path(f"/sys/class/net/{name}/statistics/tx_packets").read_text())


def packet_socket(name: str) -> socket.socket:
    """A packet socket whose frames go to the device at once, without a queueing discipline (packet(7))."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    sock.bind((name, 0))
    return sock


def send_frame(sock: socket.socket, frame: bytes) -> bool:
    """Whether the device took it; raises OSError when it is gone."""
    try:
        return sock.send(frame) == len(frame)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False


def resolve(device: TesterDevice, address: str, own: str, timeout_s: float) -> str | None:
    """The MAC that answers for ``address`` by ARP, requested from ``own``; None without an answer."""
    me, wanted = socket.inet_aton(own), socket.inet_aton(address)
    mac = mac_bytes(device.mac)
    request = b"\xff" * 6 + mac + struct.pack("!HHHBBH", _ETH_ARP, 1, 0x0800, 6, 4, 1) + mac + me + bytes(6) + wanted
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP)) as sock:
        sock.bind((device.name, _ETH_ARP))
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            sock.send(request.ljust(60, b"\0"))
            answer = _answer(sock, wanted, min(0.25, left))
            if answer:
                return answer
    return None


def _answer(sock: socket.socket, wanted: bytes, timeout_s: float) -> str | None:
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            return None
        frame = sock.recv(2048)
        # An ARP reply (operation 2) whose sender is the requested address.
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02" and frame[28:32] == wanted:
            return mac_text(frame[22:28])
    return None
