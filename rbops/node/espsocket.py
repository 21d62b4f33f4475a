"""The socket that takes ESP out of UDP (RFC 3948): the kernel does it where somebody holds one (udp(7), UDP_ENCAP)."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from rbops.node.devices import VRF
from rbops.node.schema.ipsec import TunnelConfig

__all__ = ["hold", "opened"]

_PORT, _UDP_ENCAP, _ESP_IN_UDP = 4500, 100, 2
_IP_FREEBIND = 15
_AGAIN_S, _EVERY_S = 5.0, 20.0
_KEEPALIVE = b"\xff"
_ASTRAY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""What is said of an earlier packet, or of a port that is down."""


def hold(config: TunnelConfig, *, in_vrf: bool, wait: Callable[[float], object] = time.sleep) -> None:
    """Hold a socket at each of this server's tunnel addresses until killed; tries again where another has the port.

    Peers are sent keepalives, so that a NAT on the way does not forget (RFC 3948, 4); what is no ESP, as theirs or IKE,
    is read and thrown away. Comes back where there is nothing to hold.
    """
    peers: dict[str, set[str]] = {}
    for tunnel in config.tunnels:
        if tunnel.own and tunnel.udp and tunnel.ike is None:
            peers.setdefault(tunnel.local, set()).add(tunnel.peer)
    while peers:
        with ExitStack() as held:
            try:
                each = {held.enter_context(opened(local, in_vrf=in_vrf)): found for local, found in peers.items()}
                while True:
                    for one, found in each.items():
                        _empty(one)
                        _keep_alive(one, found)
                    wait(_EVERY_S)
            except OSError as error:
                sys.stderr.write(f"rbops-node: no ESP in UDP at port {_PORT}: {error.strerror}\n")
        wait(_AGAIN_S)


def opened(address: str, *, in_vrf: bool, port: int = _PORT) -> socket.socket:
    """A socket whose ESP packets the kernel decrypts. OSError where the port is taken, or the kernel has no ESP."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if in_vrf:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, VRF.encode())
        found.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        found.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _ESP_IN_UDP)
        found.bind((address, port))
        found.setblocking(False)  # noqa: FBT003 - the name of the method says it
    except OSError:
        found.close()
        raise
    return found


def _empty(one: socket.socket) -> None:
    while True:
        try:
            one.recv(1)
        except BlockingIOError:
            return
        except OSError as error:
            # An ICMP error of the peer's is told here too.
            if error.errno not in _ASTRAY:
                raise


def _keep_alive(one: socket.socket, peers: Iterable[str]) -> None:
    for peer in sorted(peers):
        try:
            one.sendto(_KEEPALIVE, (peer, _PORT))
        except OSError as error:
            if error.errno not in _ASTRAY:
                raise
