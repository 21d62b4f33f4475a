"""AS numbers, prefix filters and OSPF areas as people write them -> their one canonical spelling."""

from __future__ import annotations

import re

from rbops.spec import words6
from rbops.spec.units import SECONDS, InvalidValue, choice, shown

__all__ = ["DAEMONS", "area", "as_number", "daemon", "interval", "prefix_filter"]

DAEMONS = ("none", "bird", "frr")
_DAEMON = choice(DAEMONS)
_PROGRAMS = ("frrouting", "quagga", "zebra", "bgpd", "bird2")
_HIGHEST_AS, _HALF = (1 << 32) - 1, 1 << 16
_AS_TRANS = 23456
_FILTER = re.compile(r"([^{}+]+?)\s*(\+|\{\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\})?")
_HOST = 32
_SHORTEST_S, _LONGEST_S = 0.01, 60


def daemon(text: str) -> str:
    """``none``, ``bird`` or ``frr``."""
    if text.lower() in _PROGRAMS:
        message = f"{shown(text)} is not a name of a daemon here: write one of {', '.join(DAEMONS)}"
        raise InvalidValue(message, "`bird` is BIRD 2, `frr` is FRR", code="spec.choice")
    return _DAEMON(text)


def as_number(text: str) -> int:
    """``64512`` or, by halves, ``1.10`` (RFC 5396) -> the number."""
    plain, dotted = re.fullmatch(r"[0-9]{1,10}", text), re.fullmatch(r"([0-9]{1,5})\.([0-9]{1,5})", text)
    if plain:
        number = int(text)
    elif dotted and int(dotted[1]) < _HALF and int(dotted[2]) < _HALF:
        number = int(dotted[1]) * _HALF + int(dotted[2])
    else:
        written = re.fullmatch(r"(?i:ASN?)[ :]?([0-9]{1,10}(\.[0-9]{1,5})?)", text)
        hint = "1 to 4294967295 as plain digits, or in halves as 1.10"
        raise InvalidValue(
            f"{shown(text)} is not an AS number",
            f"did you mean {written[1]}? {hint}" if written else hint,
            code="spec.as-number",
        )
    if not 0 < number < _HIGHEST_AS or number in {_HALF - 1, _AS_TRANS}:
        raise InvalidValue(
            f"AS {number} cannot be used: it is reserved, or no AS number",
            "1 to 4294967294, without 23456 and 65535; 64512 to 65534 are for private use",
            code="spec.as-number",
        )
    return number


def prefix_filter(text: str) -> str:
    """``10.0.0.0/8`` exactly, ``10.0.0.0/8+`` with all in it, ``10.0.0.0/8{16,24}`` what of it has these lengths."""
    match = _FILTER.fullmatch(text.strip())
    if match is None:
        raise InvalidValue(
            f"{shown(text)} is not a prefix filter",
            "a prefix, or PREFIX+, or PREFIX{LOW,HIGH}, for example 10.0.0.0/8{16,24}",
            code="spec.prefix-filter",
        )
    prefix = words6.route_prefix(match[1])
    most = words6.BITS if words6.is_ipv6(prefix) else _HOST
    if match[3] is None:
        return prefix + (match[2] or "")
    length, low, high = int(prefix.partition("/")[2]), int(match[3]), int(match[4])
    if not length <= low <= high <= most:
        raise InvalidValue(
            f"{shown(text)} lets nothing through: no prefix in {prefix} has {low} to {high} bits",
            f"lengths from {length} to {most}, the lower one first",
            code="spec.prefix-filter",
        )
    return f"{prefix}{{{low},{high}}}"


def interval(text: str) -> float:
    """How often BFD sends: 10ms to 60s."""
    value = float(SECONDS(text))
    if not _SHORTEST_S <= value <= _LONGEST_S:
        raise InvalidValue(f"{shown(text)} is outside 10ms to 60s", "for example 300ms", code="spec.range")
    return value


def area(text: str) -> str:
    """An OSPF area, as a number or dotted -> dotted."""
    number = -1
    if re.fullmatch(r"[0-9]{1,10}", text):
        number = int(text)
    elif re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", text):
        octets = [int(octet) for octet in text.split(".")]
        number = int.from_bytes(bytes(octets), "big") if max(octets) <= 255 else -1  # noqa: PLR2004 - an octet
    if not 0 <= number < 1 << 32:
        raise InvalidValue(f"{shown(text)} is not an OSPF area", "for example 0 or 0.0.0.1", code="spec.area")
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
