"""What the XDP data plane lets through to the kernel, and which sources it refuses. Standard library only."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from rbops.node.schema.fields import Field, Fields
from rbops.node.schema.port import NAME

__all__ = ["OWN_BUCKET", "OWN_BUCKETS", "PUNTED", "URPF", "Guard", "OwnAddresses", "own_addresses", "own_addresses6"]

PUNTED = (
    "local_delivery",
    "arp",
    "ipv6",
    "vlan",
    "other_protocol",
    "broadcast",
    "multicast",
    "options",
    "ttl",
    "no_route",
    "too_big",
    "unresolved",
    "not_fabric",
    "ndp",
    "ipsec",
)
"""Why a frame goes to the kernel; the names are those of layout.h, in its order."""

_ALWAYS = frozenset(PUNTED) - {"ipsec"}
"""Those that every node.json has; the others are later than some on servers."""

URPF = ("off", "loose", "strict")
OWN_BUCKETS, OWN_BUCKET = 8192, 4
_WORD = 1 << 32
_FACTORS = 256
_STEP = 0x9E3779B1
_LONG, _MIX = 1 << 64, 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Guard:
    """``punts``: reason -> packets a second of a port and core; those not named: none.

    ``addresses`` are the router's own, of all servers. ``urpf``: external port -> how its sources are checked.
    ``answer_from``: external port -> the address that ICMP errors about its packets come from, ``answer_from6`` the
    ICMPv6 errors.
    """

    punts: Mapping[str, int]
    addresses: tuple[str, ...]
    urpf: Mapping[str, str]
    answer_from: Mapping[str, str] = field(default_factory=dict)
    answer_from6: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, fields: Fields) -> Guard:
        """FieldError for what is wrong."""
        punts, urpf = fields["punts"].fields(), fields["urpf"].fields()
        return cls(
            {reason: punts[reason].number() for reason in PUNTED if reason in _ALWAYS or punts.find(reason)},
            fields["addresses"].texts(),
            {port: mode.choice(*URPF) for port, mode in urpf.keys(NAME)},
            {port: address.address() for port, address in _by_port(fields, "answer_from")},
            {port: _ipv6(address) for port, address in _by_port(fields, "answer_from6")},
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "punts": dict(self.punts),
            "addresses": list(self.addresses),
            "urpf": dict(self.urpf),
            "answer_from": dict(self.answer_from),
            **({"answer_from6": dict(self.answer_from6)} if self.answer_from6 else {}),
        }


def _ipv6(field: Field) -> str:
    text = field.any_address()
    if ":" not in text:
        raise field.error(f"{text!r} is no IPv6 address")
    return text


def _by_port(fields: Fields, key: str) -> Iterable[tuple[str, Field]]:
    told = fields.find(key)
    return () if told is None else told.fields().keys(NAME)


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """A hash table: address a is in bucket ``(a * factor mod 2**32) >> shift``, an IPv6 one by its mixed number."""

    factor: int
    shift: int
    table: bytes


def own_addresses(addresses: Iterable[str]) -> OwnAddresses:
    """The table of at most 4,096 addresses, which the programs search with one access; IPv6 ones are passed over."""
    found = [address for address in map(ip_address, dict.fromkeys(addresses)) if isinstance(address, IPv4Address)]
    return _hashed([(int(address), struct.pack("<I", int(address))) for address in found])


def own_addresses6(addresses: Iterable[str]) -> OwnAddresses:
    """The same of the IPv6 addresses."""
    found = [address for address in map(ip_address, dict.fromkeys(addresses)) if isinstance(address, IPv6Address)]
    return _hashed([(_mixed(address.packed), address.packed) for address in found])


def _mixed(packed: bytes) -> int:
    """32 bits of an IPv6 address: is_own6() of ip6.h."""
    first, second = struct.unpack("<QQ", packed)
    return int((first ^ second * _MIX % _LONG) * _MIX % _LONG) >> 32


def _hashed(entries: Sequence[tuple[int, bytes]]) -> OwnAddresses:
    """Of (number, what stands in the table). Buckets are added, and other factors tried, until none overflows."""
    size = len(entries[0][1]) if entries else 4
    bits = max(1, (2 * len(entries) - 1).bit_length())
    while 1 << bits <= OWN_BUCKETS:
        for step in range(1, _FACTORS):
            factor = step * _STEP % _WORD | 1
            buckets: dict[int, list[bytes]] = {}
            for value, entry in entries:
                buckets.setdefault(value * factor % _WORD >> 32 - bits, []).append(entry)
            if all(len(bucket) <= OWN_BUCKET for bucket in buckets.values()):
                table = bytearray(size * OWN_BUCKET << bits)
                for at, bucket in buckets.items():
                    place = size * OWN_BUCKET * at
                    table[place : place + size * len(bucket)] = b"".join(bucket)
                return OwnAddresses(factor, 32 - bits, bytes(table))
        bits += 1
    raise ValueError(f"{len(entries)} addresses do not fit")
