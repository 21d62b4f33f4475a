"""Names and MAC addresses of servers and ports.

Server n0..n{M-1}; external port P is ``ext{P}``; the internal port towards server b is ``int{b}``,
its parallel cables ``int{b}p{j}``. MACs are locally administered (first octet 02).
"""

from __future__ import annotations

import re

__all__ = ["external_port", "fabric_mac", "internal_port", "server_index", "server_name"]

_SERVER = re.compile(r"n(0|[1-9][0-9]{0,5})")
_LARGEST = 0xFFFF


def server_name(index: int) -> str:
    """``n3`` for 3."""
    return f"n{index}"


def server_index(name: str) -> int | None:
    """3 for ``n3``; None when ``name`` is not a planned server's name."""
    match = _SERVER.fullmatch(name)
    return int(match[1]) if match else None


def external_port(port: int) -> str:
    """``ext3`` for external port 3."""
    return f"ext{port}"


def internal_port(peer: int, cable: int, cables: int) -> str:
    """The port towards server ``peer``: ``int1``, or ``int1p0`` where ``cables`` run in parallel."""
    return f"int{peer}" if cables == 1 else f"int{peer}p{cable}"


def fabric_mac(port: int, adjacency: int) -> str:
    """The destination MAC inside the cluster: output port and adjacency in one (paper 6.1).

    Raises ValueError when either does not fit 16 bits.

    >>> fabric_mac(258, 1)
    '02:52:01:02:00:01'
    """
    if not (0 <= port <= _LARGEST and 0 <= adjacency <= _LARGEST):
        raise ValueError(f"port {port}, adjacency {adjacency}: both must fit 16 bits")
    return f"02:52:{port >> 8:02x}:{port & 255:02x}:{adjacency >> 8:02x}:{adjacency & 255:02x}"
