"""Route messages taken in bulk say what they say one by one; sockets give many at once; writing has its pace."""

from __future__ import annotations

import select
import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.node.pace import Pace
from rbops.node.rib import Rib
from rbops.node.rtmany import Many
from rbops.node.rtnetlink import Bulk, Change, Message, Path, Reader, Route
from rbops.node.rtsocket import route_message
from rbops.node.ways import Ports

TABLE = 82
DELETED = (25).to_bytes(2, "little")
PORTS = Ports({"ext0": 0}, frozenset({"int1"}), (0, 1), 0, lambda _: None, ipv6=True)


def told(message: bytes, how: str, length: int = 24) -> bytes:
    """What the kernel says of a request: the table in front, and whatever flags."""
    head, rest = message[:28], message[28:]
    size = 8 if length <= 32 else 20
    destination, table, behind = rest[:size], rest[size : size + 8], rest[size + 8 :]
    flags = b"\0\0" if how == "gone" else b"\0\x04"
    kind = DELETED if how == "gone" else head[4:6]
    return head[:4] + kind + flags + head[8:] + table + destination + behind


ROUTES = [
    Route(1, 0, 0, 12, 0, (Path(1, 0xC6120002),)),
    Route(1, 32, 0, 12, 0, (Path(1, 0xC6120003),)),
    Route(6, 0, 0, 12, 0, ()),
]
ONE = st.tuples(
    st.sampled_from([4, 4, 4, 6]),
    st.integers(0, 40),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from(["new"] * 6 + ["gone"]),
)
ROW = st.lists(st.integers(0, 200), min_size=8, max_size=90, unique=True)


def encoded(family: int, number: int, route: int = 0, how: str = "new") -> bytes:
    if family == 4:
        return told(route_message((10 << 24 | number << 8) << 6 | 24, ROUTES[route], TABLE), how)
    way = Route(1, 1024, 0, 12, 0, (Path(1, 0xFE80 << 112 | 2),)) if route < 2 else ROUTES[2]
    return told(route_message((0x2001 << 112 | number << 64) << 8 | 64, way, TABLE, 6), how, 64)


def singly(messages: list[Message]) -> list[Change]:
    found: list[Change] = []
    for message in messages:
        if isinstance(message, Bulk):
            found += (Change(message.how, key, message.route, message.family) for key in message.keys)
        else:
            assert isinstance(message, Change)
            found.append(message)
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(ONE, ROW), max_size=12))
def test_in_bulk_as_one_by_one(parts: list[tuple[int, int, int, str] | list[int]]) -> None:
    data = b"".join(
        encoded(*part) if isinstance(part, tuple) else b"".join(encoded(4, number) for number in part) for part in parts
    )
    one, many = (Reader(TABLE, ipv6=True) for _ in range(2))
    want, have = list(one.read(data)), list(many.read_many(data))
    assert singly(have) == singly(want)
    ribs = [(Rib(PORTS, family), Rib(PORTS, family)) for family in (4, 6)]
    for left, right in ribs:
        for message in want:
            left.take(message)
        for message in have:
            right.take(message)
        assert (left.routes, left.changed, left.doubts) == (right.routes, right.changed, right.doubts)


def test_a_long_row_is_one_message_a_route() -> None:
    data = b"".join(encoded(4, number, 1) for number in range(300))
    (bulk,) = Reader(TABLE).read_many(data)
    assert isinstance(bulk, Bulk)
    assert (len(bulk.keys), bulk.how, bulk.route) == (300, "new", ROUTES[1])
    # Of another table: nothing; cut off: what is whole, and a word about the rest.
    assert not list(Reader(83).read_many(data))
    reader = Reader(TABLE)
    assert len(singly(list(reader.read_many(data[:-4])))) == 299
    assert reader.skipped == {"cut message": 1}


def test_messages_of_all_sizes_come_whole() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    many = Many()
    with near, far:
        assert many.receive(near.fileno()) == b""
        for sizes in ([60] * 40, [60] * 700, [64, 2000, 60, 90000, 4], [2000] * 3, [60] * 5):
            sent, got = bytearray(), b""
            for at, size in enumerate(sizes):
                part = bytes([at % 251]) * size
                sent += part
                while not select.select([], [far], [], 0)[1]:
                    got += many.receive(near.fileno())
                far.send(part)
            while len(got) < len(sent):
                got += many.receive(near.fileno())
            assert got == sent


def test_while_more_comes_writing_rests_three_times_as_long_as_it_takes() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.rest_s() == pace.rest_s(100_000) == 0
    with pace.writing(2000):
        now[0] += 0.02
    assert round(pace.rest_s(), 6) == 0.02
    assert round(pace.rest_s(8000), 6) == 0.24
    now[0] += 0.05
    assert pace.rest_s() == pace.rest_s(10) == 0
    assert round(pace.rest_s(8000), 6) == 0.19
    assert round(pace.rest_s(1_000_000), 6) == round(3 * 65536e-5 - 0.05, 6), "each /16 is made once"
    assert round(pace.quiet_s(10), 6) == 0.0001
    with pace.writing(1_000_000):
        now[0] += 10
    assert round(pace.rest_s(), 6) == 0.05
    assert round(pace.rest_s(1_000_000), 6) == 3
    assert pace.quiet_s(1_000_000) == 0.1


def test_a_single_change_says_nothing_of_many() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    with pace.writing(1):
        now[0] += 0.01
    now[0] += 0.01
    assert round(pace.rest_s(1000), 6) == 0.05
