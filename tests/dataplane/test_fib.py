"""The forwarding table: compiled against a plain longest-prefix match, and as the kernel searches it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.routes import bgp_like
from rbops.dataplane.xdp.controller.fib import HEADER, MAGIC, NO_ROUTE, compile_fib, lookup
from rbops.dataplane.xdp.layout import read_fib
from rbops.errors import Mismatch, UsageError
from tests.dataplane.frames import ethernet, ipv4
from tests.dataplane.router import Router, fib_of
from tests.support.errors import raises

Route = tuple[int, int, int]


def mask(length: int) -> int:
    return 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF


def longest_match(routes: list[Route], addresses: list[int]) -> list[int]:
    """The reference: try every length from the longest down."""
    table = {(prefix & mask(length), length): value for prefix, length, value in routes}
    lengths = sorted({length for _, length, _ in routes}, reverse=True)
    return [
        next((table[at] for length in lengths if (at := (address & mask(length), length)) in table), NO_ROUTE)
        for address in addresses
    ]


def around(routes: list[Route]) -> list[int]:
    """The addresses where a table's answers change, and their neighbours."""
    edges = {0, 0xFFFFFFFF}
    for prefix, length, _ in routes:
        first = prefix & mask(length)
        last = first | ~mask(length) & 0xFFFFFFFF
        edges |= {first, last, max(first - 1, 0), min(last + 1, 0xFFFFFFFF), (first + last) // 2}
    return sorted(edges)


# Few first octets, so that prefixes fall into and next to each other.
prefixes = st.builds(lambda high, low: high << 24 | low, st.sampled_from([0, 10, 198, 255]), st.integers(0, 0xFFFFFF))
crowded = st.builds(lambda low: 198 << 24 | 18 << 16 | low, st.integers(0, 0xFFFF))


def tables(largest: int = 60, hops: int = 1000) -> st.SearchStrategy[list[Route]]:
    route = st.tuples(st.one_of(prefixes, crowded), st.integers(0, 32), st.integers(0, hops))
    return st.lists(route, max_size=largest)


@given(tables())
@settings(max_examples=150, deadline=None)
def test_finds_the_longest_prefix(routes: list[Route]) -> None:
    addresses = around(routes)
    blob = fib_of(routes) if routes else compile_fib(*np.zeros((3, 0), np.uint32))
    assert lookup(blob, np.array(addresses)).tolist() == longest_match(routes, addresses)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 64, 65, 128, 255, 256])
@pytest.mark.parametrize("hops", [2, 300])
def test_every_size_of_a_sixteen(count: int, hops: int) -> None:
    """Chunks of every form: ``count`` /24s in one /16, and enough other next hops for wide numbers."""
    random = np.random.default_rng(count)
    octets = random.choice(256, count, replace=False)
    routes = [(10 << 24 | int(octet) << 8, 24, 1 + int(octet) % hops) for octet in octets]
    routes += [(20 << 24 | number << 8, 24, number) for number in range(hops)]
    addresses = around(routes)
    assert lookup(fib_of(routes), np.array(addresses)).tolist() == longest_match(routes, addresses)


def test_the_last_of_equal_prefixes_counts() -> None:
    assert lookup(fib_of([(1 << 24, 8, 7), (1 << 24, 8, 9)]), np.array([1 << 24])).tolist() == [9]


def test_refuses_what_it_cannot_compile() -> None:
    one = np.ones(1, np.uint32)
    with raises(UsageError, "fib.shape"):
        compile_fib(one, one, np.ones(2, np.uint32))
    with raises(UsageError, "fib.length"):
        compile_fib(one, one * 33, one)
    many = np.arange(16384, dtype=np.uint32)
    with raises(UsageError, "fib.next-hops"):
        compile_fib(many << 8, np.full(16384, 24, np.uint8), many)


def test_loader_refuses_a_damaged_table() -> None:
    blob = fib_of([(1 << 24, 8, 7)])
    assert read_fib(blob, "fib.bin").values == (NO_ROUTE, 7)
    for bad in (b"", blob[:-1], blob + b"\0", b"x" * len(blob), blob[: HEADER.size]):
        with raises(Mismatch, "fib.damaged", file="fib.bin"):
            read_fib(bad, "fib.bin")
    with raises(Mismatch, "fib.version", file="fib.bin"):
        read_fib(MAGIC + b"\xff" + blob[9:], "fib.bin")


def found_by_router(router: Router, addresses: list[int]) -> list[int]:
    """The values by which the router forwards: of remote ports, read off the destination MAC."""
    values = []
    for address in addresses:
        router.next_tick()
        dotted = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        frame = router.receive("ext0", ethernet(router.mac("ext0"), ipv4(dotted))).frame
        fabric = frame[:2] == b"\x02\x52"
        values.append(int.from_bytes(frame[2:6], "big") if fabric else NO_ROUTE)
    return values


def is_forwardable(address: int) -> bool:
    return 0 < address >> 24 < 224 and address >> 24 != 127


@pytest.mark.root
def test_router_searches_as_the_reference(make_router: Callable[..., Router]) -> None:
    """All forms, narrow and wide numbers: what lookup() says is what packets do."""
    router = make_router()
    random = np.random.default_rng(5)
    bgp = bgp_like(30_000, [1, 2, 3], seed=3)
    wide = (bgp[0], bgp[1], (1 << 16 | random.integers(1, 2000, len(bgp[0]))).astype(np.uint32))
    hosts = random.integers(10 << 24, 11 << 24, 3000).astype(np.uint32)
    fine = (hosts, random.integers(20, 33, 3000).astype(np.uint8), random.choice(bgp[2], 3000))
    for table in (bgp, wide, fine):
        blob = compile_fib(*table)
        router.write("fib", blob)
        router.reopen()
        router.plane.apply()
        near = random.choice(table[0], 150).astype(np.int64) + random.integers(-2, 600, 150)
        addresses = [int(a) for a in (*random.integers(0, 1 << 32, 150), *near) if is_forwardable(int(a))]
        assert found_by_router(router, addresses) == lookup(blob, np.array(addresses)).tolist()


@pytest.mark.root
def test_router_finds_the_longest_prefix(make_router: Callable[..., Router]) -> None:
    router = make_router()

    @given(tables(30))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(drawn: list[Route]) -> None:
        routes = [(prefix, length, 1 << 16 | value + 1) for prefix, length, value in drawn] or [
            (10 << 24, 8, 1 << 16 | 1)
        ]
        router.write("fib", fib_of(routes))
        router.reopen()
        router.plane.apply()
        addresses = [address for address in around(routes) if is_forwardable(address)][:60]
        assert found_by_router(router, addresses) == longest_match(routes, addresses)

    check()
