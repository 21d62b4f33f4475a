"""The router's MAC by IPv6 neighbour discovery (RFC 4861), through a packet socket: the kernel needs no address.

Standard library only.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import time

from rbops.selftest.device import TesterDevice
from rbops.selftest.wire import internet_checksum, mac_bytes, mac_text

__all__ = ["advertised", "discover", "solicitation"]

_ETH_IPV6 = 0x86DD
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_SOURCE_OPTION, _TARGET_OPTION = 1, 2
_AGAIN_S = 0.25
_ICMP_AT, _TARGET_AT, _OPTIONS_AT = 54, 62, 78


def discover(device: TesterDevice, address: str, own: str, timeout_s: float) -> str | None:
    """The MAC that answers for ``address``, asked for from ``own``; None without an answer."""
    request = solicitation(mac_bytes(device.mac), own, address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_IPV6)) as sock:
        sock.bind((device.name, _ETH_IPV6))
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            sock.send(request)
            answer = _answer(sock, address, min(_AGAIN_S, left))
            if answer:
                return answer
    return None


def solicitation(mac: bytes, own: str, address: str) -> bytes:
    """A neighbour solicitation as a frame, to the solicited-node group of ``address`` (RFC 4291, 2.7.1)."""
    wanted, me = ipaddress.IPv6Address(address).packed, ipaddress.IPv6Address(own).packed
    group = ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + wanted[13:]
    body = bytes(4) + wanted + bytes([_SOURCE_OPTION, 1]) + mac
    head = struct.pack("!BB", _SOLICITATION, 0)
    pseudo = me + group + struct.pack("!II", 4 + len(body), _ICMPV6)
    icmp = head + struct.pack("!H", internet_checksum(pseudo + head + bytes(2) + body)) + body
    ip = struct.pack("!IHBB", 6 << 28, len(icmp), _ICMPV6, 255) + me + group
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", _ETH_IPV6) + ip + icmp


def advertised(frame: bytes, address: str) -> str | None:
    """The MAC in a neighbour advertisement for ``address``; None for any other frame."""
    if frame[12:14] != b"\x86\xdd" or frame[20:21] != bytes([_ICMPV6]) or frame[21:22] != b"\xff":
        return None
    wanted = ipaddress.IPv6Address(address).packed
    if frame[_ICMP_AT : _ICMP_AT + 1] != bytes([_ADVERTISEMENT]) or frame[_TARGET_AT:_OPTIONS_AT] != wanted:
        return None
    at = _OPTIONS_AT
    while len(frame) >= at + 8 and frame[at + 1]:
        if frame[at] == _TARGET_OPTION:
            return mac_text(frame[at + 2 : at + 8])
        at += 8 * frame[at + 1]
    return mac_text(frame[6:12])


def _answer(sock: socket.socket, address: str, timeout_s: float) -> str | None:
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            return None
        answer = advertised(sock.recv(2048), address)
        if answer:
            return answer
    return None
