"""Follows the carrier of the internal ports and leaves dead links out of the data plane's choices.

The data plane balances over all links it believes alive; a cut cable would otherwise swallow a
share of every flow until an operator looks.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from rbops.dataplane.base import Bundling
from rbops.errors import Mismatch
from rbops.node.netlink import attributes, messages
from rbops.node.schema import NodeConfig

__all__ = ["LinkState", "Switchable", "alive_servers", "link_events", "parse_links", "watch"]

_RTMGRP_LINK = 1
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_REQUEST_DUMP = 0x301
_IFINFO = struct.Struct("=BxHiII")
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_IFLA_IFNAME = 3
_RELOAD_S = 5.0
_LOOK_S = 0.5


Key = TypeVar("Key", int, str)


class Switchable(Protocol):
    """A data plane that can exclude links."""

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use or leave out the direct link towards ``server``; Mismatch while nothing is loaded."""

    def instance(self) -> object:
        """Another value after each start, since when all links are believed alive; None while nothing is loaded."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """A device and whether frames can pass."""

    name: str
    up: bool


def parse_links(data: bytes) -> Iterator[LinkState]:
    """The link messages in a datagram; a removed device is down."""
    for kind, start, end in messages(data):
        if kind not in (_RTM_NEWLINK, _RTM_DELLINK) or end - start < _IFINFO.size:
            continue
        flags = _IFINFO.unpack_from(data, start)[3]
        name = dict(attributes(data, start + _IFINFO.size, end)).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode()
        up = kind == _RTM_NEWLINK and flags & (_IFF_UP | _IFF_LOWER_UP) == _IFF_UP | _IFF_LOWER_UP
        yield LinkState(name, up)


def alive_servers(config: NodeConfig, devices: Mapping[str, str], links: Mapping[str, bool]) -> dict[int, bool]:
    """Server index -> whether a link leads to it: with parallel cables, one that is up suffices.

    In a fly servers that are reached over a neighbour too.
    """
    found: dict[int, bool] = {}
    for port in config.ports:
        if port.kind == "internal" and port.peer_server is not None and port.nic.bind is None:
            up = links.get(devices[port.name], False)
            found[port.peer_server] = found.get(port.peer_server, False) or up
    fabric = config.dataplane.fabric
    peers = {port.name: port.peer_server for port in fabric.ports}
    behind = {server: peers.get(name) for server, name in fabric.next_hop.items() if server not in found}
    return found | {server: found[near] for server, near in behind.items() if near in found}


def cables_of_bundles(config: NodeConfig, devices: Mapping[str, str], links: Mapping[str, bool]) -> dict[str, bool]:
    """Internal port -> whether it is up, of those that are one of several cables to a server."""
    inside = [port for port in config.ports if port.kind == "internal" and port.nic.bind is None]
    count = Counter(port.peer_server for port in inside)
    return {port.name: links.get(devices[port.name], False) for port in inside if count[port.peer_server] > 1}


def link_events(*, timeout_s: float) -> Iterator[list[LinkState]]:
    """All links first, then every change; an empty list when nothing happened for ``timeout_s``.

    The kernel tells the links in several datagrams: nothing is passed on before the last of them, since a link that
    is not told yet would count as dead, and its packets would go astray.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, _RTMGRP_LINK))
        link.settimeout(timeout_s)
        yield _all(link)
        while True:
            try:
                yield list(parse_links(link.recv(1 << 18)))
            except TimeoutError:
                yield []
            except OSError as error:
                # Messages were lost in a storm of them (ENOBUFS): ask for all again.
                if error.errno != 105:  # noqa: PLR2004 - ENOBUFS
                    raise
                yield _all(link)


def _all(link: socket.socket) -> list[LinkState]:
    """Every link, and what changed meanwhile; asks again where the kernel did not tell them to the end."""
    while True:
        _ask(link)
        found: list[LinkState] = []
        with suppress(TimeoutError):
            while True:
                data = link.recv(1 << 18)
                found += parse_links(data)
                kinds = {kind for kind, _, _ in messages(data)}
                if _NLMSG_DONE in kinds:
                    return found
                if _NLMSG_ERROR in kinds:
                    break


def _ask(link: socket.socket) -> None:
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    link.send(struct.pack("=IHHII", 16 + len(body), _RTM_GETLINK, _REQUEST_DUMP, 1, 0) + body)


def watch(
    config: NodeConfig,
    devices: Mapping[str, str],
    plane: Switchable,
    *,
    rounds: int | None = None,
    renew: Callable[[], None] = lambda: None,
) -> None:
    """Follow the links until killed (or for ``rounds`` events), reporting every change to the data plane.

    ``renew`` is called when the data plane was loaded again, for what else it must be told then.
    While no data plane is loaded changes are kept, and reported as soon as there is one.
    """
    links: dict[str, bool] = {}
    reported: dict[int, bool] = {}
    told: dict[str, bool] = {}
    known: object = None
    refreshed = time.monotonic()
    for number, events in enumerate(link_events(timeout_s=_LOOK_S), 1):
        links.update({event.name: event.up for event in events})
        now = plane.instance()
        if now != known or time.monotonic() - refreshed > _RELOAD_S:
            # A data plane that was loaded again takes all links for alive.
            reported, told, known, refreshed = {}, {}, now, time.monotonic()
            renew()
        reported = _report(partial(_tell_server, plane), alive_servers(config, devices, links), reported)
        if isinstance(plane, Bundling):
            told = _report(partial(_tell_cable, plane), cables_of_bundles(config, devices, links), told)
        if rounds is not None and number >= rounds:
            return


def _tell_server(plane: Switchable, server: int, up: bool) -> None:  # noqa: FBT001 - as _report() calls it
    plane.set_alive(server, alive=up)


def _tell_cable(plane: Bundling, name: str, up: bool) -> None:  # noqa: FBT001 - as _report() calls it
    plane.set_cable(name, alive=up)


def _report(
    tell: Callable[[Key, bool], None], alive: Mapping[Key, bool], reported: Mapping[Key, bool]
) -> dict[Key, bool]:
    done = dict(reported)
    for key, up in alive.items():
        if done.get(key) == up:
            continue
        try:
            tell(key, up)
        except Mismatch:
            continue
        done[key] = up
    return done
