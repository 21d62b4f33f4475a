"""Destination MACs on internal links: ``02:52:PP:PP:AA:AA``, output port and adjacency in one (paper 6.1).

The router's input server writes it; later servers forward by it, in software or by the receive queue
that the NIC steered the frame to, and never read the IP header.
"""

from __future__ import annotations

__all__ = ["FABRIC_MAC", "fabric_mac", "output_port"]

FABRIC_MAC = "02:52:"
"""Every fabric MAC begins with it; locally administered (first octet 02)."""

_LARGEST = 0xFFFF


def fabric_mac(port: int, adjacency: int) -> str:
    """The fabric MAC of an output port and adjacency (adjacency 0: the owning server's kernel).

    Raises ValueError when either does not fit 16 bits.

    >>> fabric_mac(258, 1)
    '02:52:01:02:00:01'
    """
    if not (0 <= port <= _LARGEST and 0 <= adjacency <= _LARGEST):
        raise ValueError(f"port {port}, adjacency {adjacency}: both must fit 16 bits")
    return f"{FABRIC_MAC}{port >> 8:02x}:{port & 255:02x}:{adjacency >> 8:02x}:{adjacency & 255:02x}"


def output_port(mac: str) -> int:
    """The output port in a fabric MAC.

    >>> output_port("02:52:01:02:00:01")
    258
    """
    high, low = mac.split(":")[2:4]
    return int(high + low, 16)
