"""From link messages to the reports to the data plane."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from rbops.errors import Mismatch
from rbops.node import watch
from rbops.node.watch import LinkState, _report, alive_servers, parse_links
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


def test_told_once_and_again_after_loading() -> None:
    plane = Plane()
    told = _report(plane, {1: False, 2: True}, {})
    assert told == {}
    plane.loaded = True
    told = _report(plane, {1: False, 2: True}, told)
    told = _report(plane, {1: False, 2: True}, told)
    assert plane.told == [(1, False), (2, True)]
    _report(plane, {1: True, 2: True}, told)
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
