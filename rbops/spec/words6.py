"""IPv6 addresses and prefixes as people write them -> their one canonical spelling (RFC 5952). As ``words``."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address, IPv6Network

from rbops.common.unnumbered import ANY_LINK_LOCAL
from rbops.spec import foreign_routes, words
from rbops.spec.units import InvalidValue, shown

__all__ = [
    "interface_address6",
    "is_ipv6",
    "is_link_local",
    "link_local",
    "neighbor_address6",
    "peer_address",
    "route_next_hop",
    "route_prefix",
]

BITS = 128
_WIDEST_SUBNET, _SMALLEST_SUBNET, _POINT_TO_POINT = 16, 128, 127
_RESERVED = (
    (IPv6Network("::/64"), "unspecified, loopback or IPv4 in IPv6 (RFC 4291)"),
    (IPv6Network("fe80::/10"), "link-local: routers do not forward it (RFC 4291)"),
    (IPv6Network("ff00::/8"), "multicast (RFC 4291)"),
)


def is_ipv6(text: str) -> bool:
    """Whether an address or prefix is meant to be IPv6."""
    return ":" in text


def interface_address6(text: str) -> str:
    """A port's own address with its subnet's length, ``2001:db8::1/64``: a host of a subnet, /16 to /128."""
    address, length = _split(text, "2001:db8::1/64")
    words.refuse_reserved(text, int(address), length, _RESERVED)
    if not _WIDEST_SUBNET <= length <= _SMALLEST_SUBNET:
        raise InvalidValue(
            f"{shown(text)}: a port's subnet is /16 to /128", "for example 2001:db8::1/64", code="spec.address"
        )
    network = IPv6Network((int(address), length), strict=False)
    if length < _POINT_TO_POINT and address == network.network_address:
        raise InvalidValue(
            f"{shown(text)} is the anycast address of its subnet's routers (RFC 4291, 2.6.1)",
            f"for example {network[1]}/{length}",
            code="spec.address",
        )
    return f"{address}/{length}"


def neighbor_address6(text: str) -> str:
    """A neighbour's IPv6 address without a length; not a link-local one."""
    if "/" in text:
        raise InvalidValue(
            f"{shown(text)}: a neighbour has an address, not a subnet",
            f"did you mean {text.partition('/')[0]}?",
            code="spec.address",
        )
    address = _address(text, text)
    words.refuse_reserved(text, int(address), BITS, _RESERVED)
    return str(address)


def route_prefix(text: str) -> str:
    """A route's prefix of either family, without host bits."""
    if not is_ipv6(text):
        return words.prefix(text)
    address, length = _split(text, "2001:db8:1::/48")
    network = IPv6Network((int(address), length), strict=False)
    if network.network_address != address:
        raise InvalidValue(
            f"{shown(text)} has bits set beyond its length", f"did you mean {network}?", code="spec.address"
        )
    words.refuse_reserved(text, int(address), length, _RESERVED)
    return str(network)


def route_next_hop(text: str) -> str:
    """The next hop of a static route: a neighbour's address of either family; of IPv6 a link-local one too."""
    return _or_link_local(text) if is_ipv6(text) else foreign_routes.next_hop(text)


def peer_address(text: str) -> str:
    """The address of a neighbour that speaks BGP, of either family; of IPv6 a link-local one too."""
    return _or_link_local(text) if is_ipv6(text) else words.neighbor_address(text)


def link_local(text: str) -> str:
    """An address of a single link, of a router there."""
    if not is_link_local(text.partition("%")[0]):
        raise InvalidValue(
            f"{shown(text)} is not an IPv6 link-local address", "for example fe80::7", code="spec.address"
        )
    return _or_link_local(text)


def _or_link_local(text: str) -> str:
    bare, percent, _ = text.partition("%")
    if percent and is_link_local(bare):
        message = f"{shown(text)}: which link it is on is said by `port:`"
        raise InvalidValue(message, f"did you mean {bare}?", code="spec.address")
    if not is_link_local(text):
        return neighbor_address6(text)
    if IPv6Address(text) == IPv6Address(ANY_LINK_LOCAL):
        message = f"{shown(text)} is the anycast address of a link's routers (RFC 4291, 2.6.1)"
        raise InvalidValue(message, "for example fe80::1", code="spec.address")
    return str(IPv6Address(text))


def is_link_local(text: str) -> bool:
    """Whether an address is one of a single link, fe80::/10; without the link's name."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    return address.is_link_local and address.scope_id is None


def _split(text: str, example: str) -> tuple[IPv6Address, int]:
    head, slash, tail = text.partition("/")
    address = _address(head, text)
    if not slash:
        raise InvalidValue(f"{shown(text)} has no prefix length", f"for example {example}", code="spec.address")
    if not tail.isascii() or not tail.isdigit() or int(tail[:4]) > BITS:
        raise InvalidValue(
            f"{shown(text)}: the prefix length is 0 to 128", f"for example {example}", code="spec.address"
        )
    return address, int(tail)


def _address(text: str, whole: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        pass
    else:
        if address.scope_id is None:
            return address
    raise InvalidValue(f"{shown(whole)} is not a valid IPv6 address", "for example 2001:db8::1", code="spec.address")
