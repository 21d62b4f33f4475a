"""Names, addresses and paths as people write them -> their one canonical spelling.

As in ``units``: text in, value out, ``InvalidValue`` with a hint otherwise. What passes here is safe in
file names, inventories, command arguments and kernel interfaces: whatever could mean something to
a shell, Jinja, YAML or Click is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, IPv6Network, ip_address, ip_network

from rbops.common.cpulist import parse_list
from rbops.common.fabric import FABRIC_MAC
from rbops.common.limits import HIGHEST_CPU
from rbops.common.services import NAMES, services
from rbops.spec.units import InvalidValue, shown

__all__ = [
    "collector",
    "cpu_list",
    "file_path",
    "host_name",
    "ike_id",
    "interface_address",
    "interface_name",
    "mac",
    "neighbor_address",
    "package",
    "pci",
    "port_name",
    "prefix",
    "refuse_reserved",
    "router_name",
    "service",
    "word",
]

_LONGEST_HOST = 63
_LONGEST_PATH = 4000
_WIDEST_SUBNET = 8
_SMALLEST_SUBNET, _POINT_TO_POINT = 32, 31
_ADDRESS_BITS = 32

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_RESERVED_HOSTS = frozenset({"all", "ungrouped", "localhost"})
_RESERVED = (
    (IPv4Network("0.0.0.0/8"), '"this network" (RFC 1122)'),
    (IPv4Network("127.0.0.0/8"), "loopback (RFC 1122)"),
    (IPv4Network("169.254.0.0/16"), "link-local: routers do not forward it (RFC 3927)"),
    (IPv4Network("224.0.0.0/4"), "multicast (RFC 5771)"),
    (IPv4Network("240.0.0.0/4"), "reserved (RFC 1112)"),
)


def service(text: str) -> str:
    """A service on the router's addresses: a name, or a protocol and a number."""
    try:
        services(text)
    except ValueError as error:
        raise InvalidValue(
            f"{shown(text)} is not a service",
            f"one of {', '.join(NAMES)}, or tcp/PORT, udp/PORT, ip/PROTOCOL, for example tcp/8080",
            code="spec.service",
        ) from error
    return text


def router_name(text: str) -> str:
    """The router's name: one RFC 1123 label in lower case, at most 32 characters."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid router name",
            "1 to 32 lower-case letters, digits and inner hyphens, for example rb4",
            code="spec.name",
        )
    return text


def host_name(text: str) -> str:
    """A server's name as inventory, file names and cabling use it (RFC 1123, at most 63 characters)."""
    if len(text) > _LONGEST_HOST or not re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid host name (RFC 1123)",
            "letters, digits, inner hyphens and dots, at most 63 characters, for example n0 or n0.example.net",
            code="spec.name",
        )
    if re.fullmatch(r"[0-9.]+", text) and text.count("."):
        raise InvalidValue(
            f"{shown(text)} is an address, not a host name",
            "name the server; its address is in the inventory",
            code="spec.name",
        )
    if text.lower() in _RESERVED_HOSTS:
        raise InvalidValue(
            f"{shown(text)} is a reserved name in Ansible", "name the server otherwise", code="spec.name"
        )
    return text


def interface_name(text: str) -> str:
    """A network device's name: the kernel's limit of 15 characters, and none that a shell reads."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid interface name",
            "1 to 15 letters, digits, dots, hyphens and underscores, for example enp3s0f0",
            code="spec.name",
        )
    return text


def port_name(text: str) -> str:
    """A planned port: ``ext3``, ``int1`` towards server 1, ``int1p0`` for parallel cables."""
    if not re.fullmatch(r"ext(0|[1-9][0-9]{0,3})|int(0|[1-9][0-9]{0,4})(p(0|[1-9][0-9]{0,2}))?", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid port name",
            "ext3 is external port 3, int1 the port towards server 1, int1p0 its first parallel cable",
            code="spec.name",
        )
    return text


def word(text: str) -> str:
    """A plain name (driver, slot, profile): no spaces and nothing that another language reads."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid name",
            "1 to 64 letters, digits, dots, colons, hyphens and underscores",
            code="spec.name",
        )
    return text


def ike_id(text: str) -> str:
    """What an IKE peer calls itself: an address, a host name or a mail address, as swanctl.conf has it."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.@_-]{0,253}[A-Za-z0-9])?", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid identity", "an address, or a name such as gw.example.net", code="spec.name"
        )
    return text


def package(text: str) -> str:
    """A Debian package's name, or the path or address of a .deb or archive."""
    if not re.fullmatch(r"[A-Za-z0-9/~][A-Za-z0-9+._:/~@=-]{0,254}", text):
        raise InvalidValue(
            f"{shown(text)} is not a valid package name, path or address",
            "for example click, or /srv/click.deb",
            code="spec.name",
        )
    return text


def file_path(text: str) -> str:
    """A file's path; relative ones start at the spec's directory."""
    if not text or len(text) > _LONGEST_PATH or not text.isprintable() or text.startswith("-"):
        raise InvalidValue(
            f"{shown(text)} is not a valid path", "printable characters, not beginning with a hyphen", code="spec.path"
        )
    return text


def pci(text: str) -> str:
    """A PCI address with its domain, in lower case: ``0000:03:00.0`` (``03:00.0`` gets domain 0)."""
    match = re.fullmatch(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", text.lower())
    if not match:
        raise InvalidValue(
            f"{shown(text)} is not a valid PCI address",
            "as `lspci -D` prints it, for example 0000:03:00.0",
            code="spec.pci",
        )
    domain, bus, device, function = match.groups()
    full = f"{domain or '0000':0>4}:{bus:0>2}:{device:0>2}.{function}"
    if full.split(":", 1)[1] != text.lower()[-7:]:
        raise InvalidValue(f"{shown(text)} is not a valid PCI address", f"did you mean {full}?", code="spec.pci")
    return full


def mac(text: str) -> str:
    """A device's own (unicast) MAC in lower case with colons, and none of the fabric's."""
    plain = text.lower().replace("-", ":")
    if not re.fullmatch(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", plain):
        digits = re.sub(r"[.:]", "", plain)  # as routers write it, 3cfd.fe00.0001, or bare
        meant = ":".join(re.findall("..", digits)) if re.fullmatch(r"[0-9a-f]{12}", digits) else None
        raise InvalidValue(
            f"{shown(text)} is not a valid MAC address",
            f"did you mean {meant}?" if meant else "six pairs of hex digits, for example 3c:fd:fe:00:00:01",
            code="spec.mac",
        )
    if int(plain[:2], 16) & 1:
        raise InvalidValue(
            f"{shown(text)} is a multicast or broadcast MAC",
            "a device's own address has an even first byte",
            code="spec.mac",
        )
    if plain == "00:00:00:00:00:00":
        raise InvalidValue(f"{shown(text)} cannot be the MAC address of a device", code="spec.mac")
    if plain.startswith(FABRIC_MAC):
        raise InvalidValue(
            f"{shown(text)} begins with 02:52, which the router uses on its internal links (02:52:PP:PP:AA:AA)",
            "give the device another locally administered address",
            code="spec.mac",
        )
    return plain


def interface_address(text: str) -> str:
    """A port's own address with its subnet's length, ``198.18.0.1/24``: a host of a subnet, /8 to /32."""
    address, length = _split(text, "198.18.0.1/24")
    _usable(text, int(address), length)
    if not _WIDEST_SUBNET <= length <= _SMALLEST_SUBNET:
        raise InvalidValue(
            f"{shown(text)}: a port's subnet is /8 to /32", "for example 198.18.0.1/24", code="spec.address"
        )
    network = IPv4Interface((address, length)).network
    if length < _POINT_TO_POINT and address in {network.network_address, network.broadcast_address}:
        what = "network" if address == network.network_address else "broadcast"
        raise InvalidValue(
            f"{shown(text)} is the {what} address of its subnet",
            f"for example {network[1]}/{length}",
            code="spec.address",
        )
    return f"{address}/{length}"


def neighbor_address(text: str) -> str:
    """A neighbour's IPv4 address without a length."""
    if re.fullmatch(r"[0-9.]+/[0-9]+", text):
        raise InvalidValue(
            f"{shown(text)}: a neighbour has an address, not a subnet",
            f"did you mean {text.split('/', maxsplit=1)[0]}?",
            code="spec.address",
        )
    address = _address(text, text)
    _usable(text, int(address), _ADDRESS_BITS)
    return str(address)


def prefix(text: str) -> str:
    """A route's prefix, ``203.0.113.0/24``, without host bits; ``0.0.0.0/0`` is the default route."""
    if text.strip().lower() in {"default", "any", "0/0"}:
        raise InvalidValue(f"{shown(text)} is not a prefix", "did you mean 0.0.0.0/0?", code="spec.address")
    address, length = _split(text, "203.0.113.0/24")
    if int(address) & ~_mask(length):
        meant = IPv4Network((int(address) & _mask(length), length))
        raise InvalidValue(
            f"{shown(text)} has bits set beyond its length", f"did you mean {meant}?", code="spec.address"
        )
    _usable(text, int(address), length)
    return f"{address}/{length}"


def network(text: str) -> str:
    """A management network, IPv4 or IPv6, without host bits; no network of the router, so that any is taken."""
    try:
        return str(ip_network(text.strip()))
    except ValueError:
        pass
    try:
        hint = f"did you mean {ip_network(text.strip(), strict=False)}?"
    except ValueError:
        hint = "write it as 10.20.0.0/24"
    raise InvalidValue(f"{shown(text)} is not a network", hint, code="spec.address")


def collector(text: str) -> str:
    """The address of a program that collects figures, IPv4 or IPv6: one host, and not this one."""
    try:
        address = ip_address(text.strip())
    except ValueError as error:
        hint = "write its address, for example 10.20.0.9; its port is a key of its own"
        raise InvalidValue(f"{shown(text)} is not an address", hint, code="spec.address") from error
    kinds = {
        "loopback": address.is_loopback,
        "multicast": address.is_multicast,
        "link-local": address.is_link_local,
        "unspecified": address.is_unspecified or address == IPv4Address("255.255.255.255"),
    }
    wrong = next((kind for kind, found in kinds.items() if found), None)
    if wrong is not None:
        hint = "write the address of one host in the management network"
        raise InvalidValue(f"{address} is {wrong}: servers send to one host", hint, code="spec.address")
    return str(address)


def cpu_list(text: str) -> tuple[int, ...]:
    """CPU ids as the kernel writes them: ``0,2-5`` -> (0, 2, 3, 4, 5); ids up to 8191."""
    try:
        ids = parse_list(text.replace(" ", ""))
    except ValueError:
        ids = frozenset()
    if not ids:
        raise InvalidValue(
            f"{shown(text)} is not a list of CPU ids",
            f"for example 0,2-5; the highest id is {HIGHEST_CPU}",
            code="spec.cpu-list",
        )
    return tuple(sorted(ids))


def _mask(length: int) -> int:
    return (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF


def _split(text: str, example: str) -> tuple[IPv4Address, int]:
    head, slash, tail = text.partition("/")
    address = _address(head, text)
    if not slash:
        raise InvalidValue(f"{shown(text)} has no prefix length", f"for example {example}", code="spec.address")
    if not re.fullmatch(r"[0-9]{1,2}", tail) or int(tail) > _ADDRESS_BITS:
        masked = _masked(address, tail)
        hint = f"did you mean {masked}?" if masked else f"for example {example}"
        raise InvalidValue(f"{shown(text)}: the prefix length is 0 to 32", hint, code="spec.address")
    return address, int(tail)


def _masked(address: IPv4Address, mask: str) -> str | None:
    """``address`` with the length of a mask such as 255.255.255.0; None where it is none."""
    try:
        return f"{address}/{IPv4Network(f'0.0.0.0/{mask}').prefixlen}" if "." in mask else None
    except ValueError:
        return None


def _address(text: str, whole: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        pass
    if re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", text):
        raise InvalidValue(
            f"{shown(whole)} is IPv6, and this is a place for IPv4",
            "IPv6 is in ports[].ipv6, and in routes that are written in the spec itself",
            code="spec.address",
        )
    raise InvalidValue(
        f"{shown(whole)} is not a valid IPv4 address",
        "four numbers 0 to 255 without leading zeros",
        code="spec.address",
    )


def _usable(text: str, address: int, length: int) -> None:
    refuse_reserved(text, address, length, _RESERVED)


def refuse_reserved(
    text: str, address: int, length: int, ranges: Iterable[tuple[IPv4Network | IPv6Network, str]]
) -> None:
    """Raise InvalidValue when the prefix lies within one of the ``ranges`` of its family, saying what that is."""
    for reserved, why in ranges:
        differs = (address ^ int(reserved.network_address)) >> (reserved.max_prefixlen - reserved.prefixlen)
        # The default route and other short prefixes reach over reserved ranges without aiming at them.
        if length >= reserved.prefixlen and not differs:
            raise InvalidValue(f"{shown(text)} is in {reserved}, which is {why}", code="spec.address")
