"""Routes as other routers write them, told what they are: several next hops, routes that drop, device routes.

rbops has one kind of static route, a prefix by way of one neighbour. What is something else is named as that,
so that nobody takes it for a misspelt address.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address

from rbops.spec import words
from rbops.spec.units import InvalidValue, shown

__all__ = ["ECMP", "header_mistake", "key_hint", "key_meant", "line_mistake", "next_hop"]

ECMP = "one next hop a prefix: rbops has no ECMP, keep one of them"
_DROP = "what no route matches is dropped and counted; a prefix that drops below a wider route cannot be had"
_OTHER_KEYS = "a route is a prefix and a neighbour's address; rbops has no {} of routes"

_DROPPING = frozenset(
    [
        "blackhole",
        "discard",
        "drop",
        "null",
        "null0",
        "reject",
        "unreachable",
        "prohibit",
        "prohibited",
        "throw",
        "receive",
        "local",
    ]
)
_CONNECTED = frozenset({"connected", "direct", "directly connected", "link", "onlink", "dev"})
_DEVICE = re.compile(r"(?:dev\s+)?[A-Za-z_][A-Za-z0-9_.-]*[0-9][A-Za-z0-9_.-]*")
_SEPARATORS = re.compile(r"[\s,;|+&]+")
_IP_ROUTE = re.compile(r"^(?:(?P<kind>[a-z]+)\s+)?(?P<prefix>default|[0-9.]+(?:/[0-9]+)?)\s+(?P<rest>[a-z]+\s+\S.*)$")
_KINDS = frozenset({"unicast", *_DROPPING, "broadcast", "multicast", "nat", "anycast"})

_KEYS = {
    "via": frozenset({"gateway", "gw", "nexthop", "nh", "hop", "router", "ip", "nextgateway"}),
    "several": frozenset({"nexthops", "gateways", "vias", "multipath", "ecmp", "weight", "paths"}),
    "drop": frozenset({"type", "action", *_DROPPING}),
    "destination": frozenset({"destination", "dst", "dest", "network", "net", "to", "subnet"}),
    "metric": frozenset({"metric", "distance", "preference", "priority", "admindistance", "cost"}),
    "device": frozenset({"dev", "device", "interface", "iface", "port", "onlink", "oif"}),
    "table": frozenset({"table", "vrf", "tag", "src", "source", "scope", "proto", "protocol", "mtu", "bfd", "track"}),
}


def next_hop(text: str) -> str:
    """The next hop of a static route, a neighbour's IPv4 address; what else routers write there is named."""
    plain = text.strip().lower()
    if plain in _DROPPING:
        raise InvalidValue(f"{shown(text)}: rbops has no routes that drop or reject", _DROP, code="spec.unsupported")
    if plain in _CONNECTED or _DEVICE.fullmatch(text.strip()):
        raise InvalidValue(
            f"{shown(text)}: rbops has no routes to a device, only by way of a neighbour",
            "write the neighbour's IPv4 address; a port's own subnet needs no route",
            code="spec.unsupported",
        )
    parts = [part for part in _SEPARATORS.split(text.strip()) if part]
    if len(parts) > 1 and all(map(_is_address, parts)):
        raise InvalidValue(f"{shown(text)} are {len(parts)} next hops", ECMP, code="spec.unsupported")
    return words.neighbor_address(text)


def key_hint(name: str) -> str | None:
    """What to do about a key of another router's static route; None for one that is only unknown."""
    return {
        None: None,
        "via": "did you mean via?",
        "destination": "did you mean prefix?",
        "several": ECMP,
        "drop": f"rbops has no routes that drop or reject: {_DROP}",
        "metric": _OTHER_KEYS.format("metrics"),
        "device": _OTHER_KEYS.format("devices"),
        "table": _OTHER_KEYS.format("tables or attributes"),
    }[_kind(name)]


def key_meant(name: str) -> str | None:
    """The key of rbops's own in whose place another router has ``name``."""
    kind = _kind(name)
    return "prefix" if kind == "destination" else "via" if kind in {"via", "several", "drop", "device"} else None


def _kind(name: str) -> str | None:
    plain = re.sub(r"[^a-z]", "", name.lower())
    return next((kind for kind, names in _KEYS.items() if plain in names), None)


def header_mistake(cells: list[str]) -> InvalidValue | None:
    """The first line of a route file where it names columns, and not these two."""
    if len(cells) < 2 or any(character.isdigit() for character in cells[0]):  # noqa: PLR2004
        return None
    if not all(re.fullmatch(r"[A-Za-z_][A-Za-z_ -]*", cell) for cell in cells if cell):
        return None
    if cells[0].lower() in _KINDS:
        return None
    return InvalidValue(
        f"the header is {shown(','.join(cells))}, not prefix,via",
        "the columns are the prefix and the neighbour's address: write prefix,via, or leave the header out",
        code="spec.csv",
    )


def line_mistake(line: str, cells: list[str]) -> InvalidValue:
    """What a line of a route file is that is not two cells."""
    if len(cells) > 2 and all(map(_is_address, cells[1:])):  # noqa: PLR2004
        return InvalidValue(f"{shown(cells[0])} has {len(cells) - 1} next hops", ECMP, code="spec.unsupported")
    listed = _IP_ROUTE.match(line)
    first = line.split(maxsplit=1)[0].lower()
    if first in _DROPPING:
        return InvalidValue(f"{shown(line)}: rbops has no routes that drop or reject", _DROP, code="spec.unsupported")
    if listed and (listed["kind"] is None or listed["kind"] in _KINDS):
        prefix = "0.0.0.0/0" if listed["prefix"] == "default" else listed["prefix"]
        via = re.search(r"\bvia\s+([0-9.]+)", listed["rest"])
        hint = f"did you mean {prefix},{via[1]}?" if via and "/" in prefix else "write prefix,via"
        return InvalidValue("this is a line of `ip route`, not prefix,via", hint, code="spec.csv")
    parts = [part for part in _SEPARATORS.split(line) if part]
    hint = "for example 203.0.113.0/24,198.18.3.2"
    if len(cells) == 1 and len(parts) == 2 and "/" in parts[0] and _is_address(parts[1]):  # noqa: PLR2004
        hint = f"did you mean {parts[0]},{parts[1]}?"
    return InvalidValue("this line is not prefix,via", hint, code="spec.csv")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
