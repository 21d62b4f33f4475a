"""From link messages to the reports to the data plane."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest

from rbops.errors import Mismatch
from rbops.node import watch
from rbops.node.schema.dataplane import FabricPort
from rbops.node.watch import LinkState, _report, _tell_server, alive_servers, cables_of_bundles, parse_links
from tests.node.recorded import config, internal


def message(kind: int, name: str, flags: int) -> bytes:
    text = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(text), 3) + text + bytes(-len(text) % 4)
    body = struct.pack("=BxHiII", 0, 1, 7, flags, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_parse() -> None:
    data = (
        message(16, "int1", 0x11043) + message(16, "int2", 0x1003) + message(17, "int3", 0x11043) + message(3, "x", 0)
    )
    assert list(parse_links(data)) == [
        LinkState("int1", up=True),
        LinkState("int2", up=False),
        LinkState("int3", up=False),
    ]


def test_parallel_cables() -> None:
    ports = [internal("int1p0"), internal("int1p1"), internal("int2", peer_server=2)]
    wanted, names = config(ports=ports), {"int1p0": "eth0", "int1p1": "eth1", "int2": "eth2"}
    assert alive_servers(wanted, names, {"eth0": False, "eth1": True}) == {1: True, 2: False}
    assert alive_servers(wanted, names, {"eth0": False, "eth1": False, "eth2": True}) == {1: False, 2: True}
    assert cables_of_bundles(wanted, names, {"eth1": True, "eth2": True}) == {"int1p0": False, "int1p1": True}


def test_servers_behind_a_neighbour() -> None:
    """In a fly: no cable leads to server 5 itself."""
    wanted, names = config(ports=[internal("int1"), internal("int2", peer_server=2)]), {"int1": "eth0", "int2": "eth1"}
    fabric = dataclasses.replace(
        wanted.dataplane.fabric,
        ports=(FabricPort("int1", "internal", 10**9, None, 1), FabricPort("int2", "internal", 10**9, None, 2)),
        next_hop={1: "int1", 5: "int2"},
    )
    wanted = dataclasses.replace(wanted, dataplane=dataclasses.replace(wanted.dataplane, fabric=fabric))
    assert alive_servers(wanted, names, {"eth0": True}) == {1: True, 2: False, 5: False}
    assert alive_servers(wanted, names, {"eth1": True}) == {1: False, 2: True, 5: True}


class Plane:
    """Keeps what it was told; refuses while ``loaded`` is False."""

    def __init__(self) -> None:
        self.loaded = False
        self.start = 0
        self.told: list[tuple[int, bool]] = []

    def instance(self) -> object:
        return self.start if self.loaded else None

    def set_alive(self, server: int, *, alive: bool) -> None:
        if not self.loaded:
            raise Mismatch("not loaded", code="test.loaded")
        self.told.append((server, alive))


class Bundles(Plane):
    """Also takes cables of bundles."""

    def __init__(self) -> None:
        super().__init__()
        self.cables: list[tuple[str, bool]] = []

    def set_cable(self, name: str, *, alive: bool) -> None:
        self.cables.append((name, alive))


def test_told_once_and_again_after_loading() -> None:
    plane = Plane()
    tell = partial(_tell_server, plane)
    told = _report(tell, {1: False, 2: True}, {})
    assert told == {}
    plane.loaded = True
    told = _report(tell, {1: False, 2: True}, told)
    told = _report(tell, {1: False, 2: True}, told)
    assert plane.told == [(1, False), (2, True)]
    _report(tell, {1: True, 2: True}, told)
    assert plane.told[2:] == [(1, True)]


def test_a_plane_that_was_started_again_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    plane.loaded = True

    def events(*, timeout_s: float) -> Iterator[list[LinkState]]:
        assert timeout_s < 1
        yield [LinkState("int1", up=False)]
        yield []
        plane.start += 1
        yield []
        yield []

    monkeypatch.setattr(watch, "link_events", events)
    watch.watch(config(ports=[internal("int1")]), {"int1": "int1"}, plane)
    assert plane.told == [(1, False), (1, False)]


def test_one_of_several_cables_is_told_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Bundles()
    plane.loaded = True

    def events(*, timeout_s: float) -> Iterator[list[LinkState]]:
        del timeout_s
        yield [LinkState(name, up=True) for name in ("int1p0", "int1p1", "int2")]
        yield [LinkState("int1p1", up=False)]
        yield [LinkState("int1p1", up=True), LinkState("int2", up=False)]

    monkeypatch.setattr(watch, "link_events", events)
    ports = [internal("int1p0"), internal("int1p1"), internal("int2", peer_server=2)]
    watch.watch(config(ports=ports), {name: name for name in ("int1p0", "int1p1", "int2")}, plane)
    assert plane.told == [(1, True), (2, True), (2, False)]
    assert plane.cables == [("int1p0", True), ("int1p1", True), ("int1p1", False), ("int1p1", True)]


class Kernel:
    """A netlink socket that answers each question with the next of ``dumps``: datagrams, or errors to raise."""

    def __init__(self, *dumps: list[bytes | OSError]) -> None:
        self.dumps = list(dumps)
        self.waiting: list[bytes | OSError] = []

    def send(self, data: bytes) -> None:
        assert struct.unpack_from("=IHH", data)[1] == 18
        self.waiting += self.dumps.pop(0) if self.dumps else []

    def recv(self, size: int) -> bytes:
        del size
        if not self.waiting:
            raise TimeoutError
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def bind(self, _: object) -> None:
        return

    def settimeout(self, _: object) -> None:
        return


UP, DOWN = 0x11043, 0x1003
DONE = message(3, "", 0)


@pytest.mark.parametrize(
    "dumps",
    [
        [[message(16, "int1", UP), message(16, "int2", UP), DONE]],
        [[message(16, "int1", UP)], [message(16, "int1", UP), message(16, "int2", UP) + DONE]],
        [[message(16, "int1", UP), message(2, "", 0)], [message(16, "int1", UP) + message(16, "int2", UP), DONE]],
    ],
    ids=["in parts", "cut off", "refused"],
)
def test_a_watch_that_starts_takes_no_link_for_dead(
    monkeypatch: pytest.MonkeyPatch, dumps: list[list[bytes | OSError]]
) -> None:
    plane = Plane()
    plane.loaded = True
    monkeypatch.setattr(watch.socket, "socket", lambda *_: Kernel(*dumps))
    wanted = config(ports=[internal("int1"), internal("int2", peer_server=2)])
    watch.watch(wanted, {"int1": "int1", "int2": "int2"}, plane, rounds=3)
    assert plane.told == [(1, True), (2, True)]


def test_lost_messages_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    plane.loaded = True
    kernel = Kernel([message(16, "int1", UP), DONE, OSError(105, "no buffer")], [message(16, "int1", DOWN), DONE])
    monkeypatch.setattr(watch.socket, "socket", lambda *_: kernel)
    watch.watch(config(ports=[internal("int1")]), {"int1": "int1"}, plane, rounds=3)
    assert plane.told == [(1, True), (1, False)]
