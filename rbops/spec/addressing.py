"""The addresses that external ports get when the spec names none.

They come from 198.18.0.0/15, which RFC 2544 sets aside for benchmarks, so that a generated router
never collides with a network in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Address

__all__ = ["GENERATED_SPACE", "generated_mac", "generated_network", "generated_networks", "stand_in"]

GENERATED_SPACE = IPv4Network("198.18.0.0/15")


def generated_network(port: int, external_ports: int) -> IPv4Network:
    """The subnet of ``port`` in a router of ``external_ports``: /24 up to 512 ports, smaller beyond.

    >>> str(generated_network(3, 4)), str(generated_network(300, 512)), str(generated_network(1, 1024))
    ('198.18.3.0/24', '198.19.44.0/24', '198.18.0.128/25')
    """
    length = max(24, GENERATED_SPACE.prefixlen + (external_ports - 1).bit_length())
    base = int(GENERATED_SPACE.network_address) + (port << (32 - length))
    return IPv4Network((base, length))


def generated_networks(external_ports: int, given: Mapping[int, IPv4Network]) -> dict[int, IPv4Network]:
    """Port -> subnet of the ports that ``given`` (port -> the user's subnet) does not have, apart from all of those.

    One that would overlap moves to the next free place, in a full space to one of a port that has another subnet.
    A port for which nothing is left is missing.
    """
    found: dict[int, IPv4Network] = {}
    near = [network for network in given.values() if network.overlaps(GENERATED_SPACE)]
    spare = _spare(external_ports, given)
    for port in range(external_ports):
        if port in given:
            continue
        network: IPv4Network | None = generated_network(port, external_ports)
        while network is not None and any(network.overlaps(other) for other in near):
            network = next(spare, None)
        if network is not None:
            found[port] = network
    return found


def _spare(external_ports: int, given: Mapping[int, IPv4Network]) -> Iterator[IPv4Network]:
    place = external_ports
    while (network := generated_network(place, external_ports)).subnet_of(GENERATED_SPACE):
        yield network
        place += 1
    yield from (generated_network(port, external_ports) for port in sorted(given) if port < external_ports)


def generated_mac(port: int) -> str:
    """MAC of the neighbour assumed on ``port`` (the lab's tester), which is its subnet's second host."""
    return f"02:4e:{port >> 8:02x}:{port & 255:02x}:00:02"


def stand_in(port: int, adjacency: int) -> str:
    """By what other servers know a link-local neighbour: ``100::5252:PORT:ADJACENCY``, of RFC 6666's prefix.

    >>> stand_in(3, 2)
    '100::5252:3:2'
    """
    return str(IPv6Address((0x0100 << 112) | (0x5252 << 32) | (port << 16) | adjacency))
