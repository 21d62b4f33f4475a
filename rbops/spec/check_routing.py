"""The section ``routing:``: what contradicts itself, filters that let nothing through, files that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface
from pathlib import Path as FilePath

from rbops.errors import Diagnostic
from rbops.spec.check_ipv6 import port_of_link_local
from rbops.spec.keyfile import check_password, check_secret
from rbops.spec.routing import BgpNeighbor, Family, OspfPort, Routing
from rbops.spec.source import Path
from rbops.spec.units import InvalidValue
from rbops.spec.validate import Parts, located, text_at
from rbops.spec.words6 import is_ipv6, is_link_local

__all__ = ["MOST_BYTES", "check_routing"]

MOST_BYTES = 1 << 20
_DAEMONS = ("as_number", "router_ids", "neighbors", "announce", "ospf")
_KEYS = {"as_number": "as"}
_NAMES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
_PASSWORDS = {
    "bird": re.compile(rb"^[^#\n]*\bpassword\s+\"", re.MULTILINE),
    "frr": re.compile(rb"^[^!#\n]*\b(password|md5|key-string|authentication-key)[ \t]+(?!@)[^\s]", re.MULTILINE),
}
_INCLUDE = {"bird": '`include "keys.conf";`', "frr": "write `@NAME@` in its place"}


def check_routing(parts: Parts, routing: Routing | None, base: FilePath) -> Iterator[Diagnostic]:
    """Mistakes of a section that is valid by itself; paths start at ``base``."""
    if routing is None:
        return
    yield from _conflicts(parts, routing)
    if routing.daemon == "frr" and routing.ospf and text_at(parts.root, "router", "separation") == "rules":
        message = "FRR writes OSPF's routes to the table of a VRF alone, and `separation: rules` has none"
        hint = "leave `separation` out where the servers' kernels have VRFs, else write `daemon: bird`"
        yield located(parts.root, ("routing", "ospf"), message, hint, key=True, code="spec.unsupported")
    yield from _neighbors(parts, routing, base)
    for number, prefix in enumerate(routing.announce):
        if is_ipv6(prefix) and parts.ports_complete and all(port.ipv6 is None for port in parts.ports.values()):
            message, hint = f"{prefix}: no port has IPv6", "give ports `ipv6: {address: ...}`"
            yield located(parts.root, ("routing", "announce", number), message, hint, code="spec.unsupported")
    yield from _ospf(parts, routing)
    yield from _own(parts, routing, base)


def _ospf(parts: Parts, routing: Routing) -> Iterator[Diagnostic]:
    seen: set[int] = set()
    for number, ospf in enumerate(routing.ospf):
        path = ("routing", "ospf", number, "port")
        if ospf.port in seen:
            yield located(parts.root, path, f"port {ospf.port} is a duplicate", code="spec.duplicate")
        seen.add(ospf.port)
        if parts.external_ports is not None and ospf.port >= parts.external_ports:
            message = f"port {ospf.port} of a router with {parts.external_ports} external ports"
            yield located(parts.root, path, message, code="spec.range")
        if any(port.id == ospf.port and (port.address or "").endswith("/32") for port in parts.ports.values()):
            message, hint = f"port {ospf.port} has a /32: OSPF speaks in a subnet", "give it one, /31 for two routers"
            yield located(parts.root, path, message, hint, code="spec.conflict")
        yield from _routers(parts, ("routing", "ospf", number, "routers"), routing, ospf)


def _routers(parts: Parts, path: Path, routing: Routing, ospf: OspfPort) -> Iterator[Diagnostic]:
    """Next hops of OSPF version 3 are link-local addresses (RFC 5340, 4.8.2), and it is BIRD's."""
    if ospf.routers and routing.daemon == "frr":
        message, hint = (
            "routers are for OSPF version 3, which rbops has with BIRD alone",
            "leave it out, or write `daemon: bird`",
        )
        yield located(parts.root, path, message, hint, key=True, code="spec.unsupported")
    elif ospf.routers:
        yield from port_of_link_local(parts, path, ospf.port)
    for at, address in enumerate(ospf.routers):
        if address in ospf.routers[:at]:
            yield located(parts.root, (*path, at), f"{address} is a duplicate", code="spec.duplicate")


def _conflicts(parts: Parts, routing: Routing) -> Iterator[Diagnostic]:
    given = [name for name in _DAEMONS if getattr(routing, name)]
    if routing.daemon == "none" or routing.config is not None:
        why = "a daemon" if routing.daemon == "none" else "a configuration that rbops writes, not for `config:`"
        for name in given:
            word = _KEYS.get(name, name)
            yield located(parts.root, ("routing", word), f"{word} is for {why}", key=True, code="spec.conflict")
    if routing.daemon == "none" and routing.config is not None:
        message = "a configuration for no daemon"
        hint = "write `daemon: bird` or `daemon: frr`"
        yield located(parts.root, ("routing", "config"), message, hint, code="spec.conflict")
    if routing.keys is not None and routing.config is None:
        message = "keys are for `config:`; a neighbour's password is its own key"
        yield located(parts.root, ("routing", "keys"), message, key=True, code="spec.conflict")
    needs_as = [name for name in ("neighbors", "ospf", "announce") if getattr(routing, name)]
    if routing.daemon != "none" and routing.config is None and routing.as_number is None:
        what = f"{needs_as[0]} need" if needs_as else "the servers' sessions with each other need"
        message = f"as is missing: {what} the router's AS number"
        yield located(parts.root, ("routing",), message, "for example as: 64512", code="spec.missing")


def _neighbors(parts: Parts, routing: Routing, base: FilePath) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, int | None], int] = {}
    for number, near in enumerate(routing.neighbors):
        path: Path = ("routing", "neighbors", number)
        if near.address is None and near.port is None:
            message, hint = "address is missing", "name it, or the port that the router is on"
            yield located(parts.root, path, message, hint, code="spec.missing")
            continue
        place = near.at, near.port if is_link_local(near.at) else None
        if place in seen:
            message = f"{near.name} is a duplicate of neighbour {seen[place]}"
            where = (*path, "address" if near.address else "port")
            yield located(parts.root, where, message, code="spec.duplicate")
        seen.setdefault(place, number)
        yield from _port(parts, path, near)
        if near.as_number == routing.as_number:
            message = f"AS {near.as_number} is the router's own: neighbours are of other ASs"
            yield located(parts.root, (*path, "as"), message, code="spec.conflict")
        yield from _families(parts, path, near)
        yield from _filters(parts, path, near)
        if is_ipv6(near.at) and not is_link_local(near.at):
            yield from _subnet6(parts, (*path, "address"), IPv6Address(near.at))
        if near.password is not None:
            try:
                check_password(base / (text_at(parts.root, *path, "password") or near.password))
            except InvalidValue as wrong:
                yield located(parts.root, (*path, "password"), wrong.message, wrong.hint, code=wrong.code)


def _port(parts: Parts, path: Path, near: BgpNeighbor) -> Iterator[Diagnostic]:
    """A link-local address is one on each link; all others say by themselves which port they are on."""
    where = (*path, "port")
    if not is_link_local(near.at):
        if near.port is not None:
            message = f"port is for link-local addresses: {near.address} is on the port whose subnet has it"
            yield located(parts.root, where, message, key=True, code="spec.conflict")
    elif near.port is None:
        message, hint = f"{near.address} is on every link", "name the port that it is on, for example port: 0"
        yield located(parts.root, (*path, "address"), message, hint, code="spec.missing")
    else:
        yield from port_of_link_local(parts, where, near.port)


def _filters(parts: Parts, path: Path, near: BgpNeighbor) -> Iterator[Diagnostic]:
    for word, filters in (("import", near.import_), ("export", near.export)):
        if filters is not None and not filters:
            message = "the filter lets nothing through"
            hint = "leave it out for all, or name prefixes"
            yield located(parts.root, (*path, word), message, hint, code="spec.prefix-filter")
        for at, each in enumerate(filters or ()):
            if _of(each) not in near.carried:
                message = f"{each} lets nothing through: the session with {near.name} carries the other family"
                hint = "`families: [ipv4, ipv6]` carries both" if is_ipv6(near.at) else ""
                yield located(parts.root, (*path, word, at), message, hint, code="spec.prefix-filter")
        missing = [family for family in near.carried if not any(_of(each) == family for each in filters or ())]
        if filters and len(near.carried) > len(missing) > 0:
            message = f"the filter lets nothing of {_NAMES[missing[0]]} through, which the session carries too"
            hint = f"name prefixes of it, or write `families: [{_of(filters[0])}]`"
            yield located(parts.root, (*path, word), message, hint, code="spec.prefix-filter")


def _families(parts: Parts, path: Path, near: BgpNeighbor) -> Iterator[Diagnostic]:
    given = near.families
    if given is not None and not given:
        message, hint = "the session carries nothing", "leave it out for the address's family, or name ipv4, ipv6"
        yield located(parts.root, (*path, "families"), message, hint, code="spec.conflict")
    if given is not None and len(set(given)) < len(given):
        yield located(parts.root, (*path, "families"), "a family is a duplicate", code="spec.duplicate")
    if "ipv6" in near.carried and not is_ipv6(near.at):
        message = f"the session with {near.name} cannot carry IPv6: its next hops are IPv6 addresses"
        hint = "name the neighbour's IPv6 address, whose session carries both families"
        yield located(parts.root, (*path, "families"), message, hint, code="spec.conflict")


def _of(prefix: str) -> Family:
    return "ipv6" if is_ipv6(prefix) else "ipv4"


def _subnet6(parts: Parts, path: Path, address: IPv6Address) -> Iterator[Diagnostic]:
    """A neighbour that speaks IPv6 is on a port whose IPv6 subnet has its address."""
    own = [IPv6Interface(port.ipv6.address) for port in parts.ports.values() if port.ipv6 is not None]
    if any(address == each.ip for each in own):
        yield located(parts.root, path, f"{address} is the router's own address", code="spec.neighbor-address")
    elif not any(address in each.network for each in own) and parts.ports_complete:
        message = f"{address} is in the IPv6 subnet of no port"
        hint = "give its port `ipv6: {address: ...}`"
        yield located(parts.root, path, message, hint, code="spec.neighbor-address")


def _own(parts: Parts, routing: Routing, base: FilePath) -> Iterator[Diagnostic]:
    if routing.keys is not None:
        try:
            check_secret(base / (text_at(parts.root, "routing", "keys") or routing.keys))
        except InvalidValue as wrong:
            yield located(parts.root, ("routing", "keys"), wrong.message, wrong.hint, code=wrong.code)
    if routing.config is None:
        return
    path = base / (text_at(parts.root, "routing", "config") or routing.config)
    where = ("routing", "config")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        yield located(parts.root, where, f"{path}: {error.strerror}", code="spec.file")
        return
    if len(content) > MOST_BYTES or not _is_text(content):
        yield located(parts.root, where, f"{path} is not a text file of at most 1 MiB", code="spec.file")
    elif routing.daemon in _PASSWORDS and _PASSWORDS[routing.daemon].search(content):
        message = f"{path} has a password in it, and is shown by plans, diffs and servers"
        there = _INCLUDE[routing.daemon]
        hint = f'write `define NAME = "...";` into a file of mode 0600, name it as `keys:`, and {there}'
        yield located(parts.root, where, message, hint, code="spec.key-file")


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\n\t\r" for char in text)
