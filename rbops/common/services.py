"""Services that may listen on the router's addresses: by name, or as a protocol and a number."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NAMES", "Service", "services"]


@dataclass(frozen=True, slots=True)
class Service:
    """``protocol``: ``tcp`` or ``udp`` with a port's number, or ``ip`` with a protocol's."""

    protocol: str
    number: int


NAMES = {
    "ssh": (Service("tcp", 22),),
    "bgp": (Service("tcp", 179),),
    # RFC 5881, RFC 7130, RFC 5883.
    "bfd": (Service("udp", 3784), Service("udp", 3785), Service("udp", 4784)),
    "ospf": (Service("ip", 89),),
    "snmp": (Service("udp", 161),),
    "ntp": (Service("udp", 123),),
}
"""Name -> what it needs."""

_NUMBERED = re.compile(r"(tcp|udp|ip)/([0-9]{1,5})")
_HIGHEST = {"tcp": 65535, "udp": 65535, "ip": 255}


def services(word: str) -> tuple[Service, ...]:
    """What a word of the spec means; ValueError with the reason for any other."""
    if word in NAMES:
        return NAMES[word]
    found = _NUMBERED.fullmatch(word)
    if found is None or not 0 < int(found[2]) <= _HIGHEST[found[1]]:
        raise ValueError(f"{word} is no service, expected {', '.join(NAMES)}, or tcp/NUMBER, udp/NUMBER, ip/NUMBER")
    return (Service(found[1], int(found[2])),)
