"""The addresses that external ports get when the spec names none.

They come from 198.18.0.0/15, which RFC 2544 sets aside for benchmarks, so that a generated router
never collides with a network in use.
"""

from __future__ import annotations

from ipaddress import IPv4Network

__all__ = ["GENERATED_SPACE", "generated_neighbor", "generated_network"]

GENERATED_SPACE = IPv4Network("198.18.0.0/15")


def generated_network(port: int, external_ports: int) -> IPv4Network:
    """The subnet of ``port`` in a router of ``external_ports``: /24 up to 512 ports, smaller beyond.

    >>> str(generated_network(3, 4)), str(generated_network(300, 512)), str(generated_network(1, 1024))
    ('198.18.3.0/24', '198.19.44.0/24', '198.18.0.128/25')
    """
    length = max(24, GENERATED_SPACE.prefixlen + (external_ports - 1).bit_length())
    base = int(GENERATED_SPACE.network_address) + (port << (32 - length))
    return IPv4Network((base, length))


def generated_neighbor(port: int, external_ports: int) -> tuple[str, str]:
    """Address and MAC of the neighbour assumed on ``port`` (the lab's tester): the second host."""
    network = generated_network(port, external_ports)
    return str(network.network_address + 2), f"02:4e:{port >> 8:02x}:{port & 255:02x}:00:02"
