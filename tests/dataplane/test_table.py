"""The table that changes in place, against the compiled one and against a plain list of prefixes."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp.controller.fib import HEADER, MAGIC, NO_ROUTE, VERSION, lookup
from rbops.dataplane.xdp.groups import buckets, shares
from rbops.dataplane.xdp.prefixes import Prefixes, key_of
from rbops.dataplane.xdp.table import Body, ranges_of

MEMORY = 1 << 20


def blob_of(memory: bytearray, width: int) -> bytes:
    """As a compiled table whose values are the numbers."""
    values = np.array([NO_ROUTE, *range(1, 300)], "<u4")
    head = HEADER.pack(MAGIC, VERSION, 0, len(values), width, len(memory), 0) + values.tobytes()
    return head + bytes(-len(head) % 64) + bytes(memory)


# Few /16s and crowded addresses, so that prefixes nest and chunks take every form.
addresses = st.one_of(
    st.integers(0, 0x3FFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF).map(lambda low: low & 0xFF0F)
)
prefixes = st.tuples(addresses, st.one_of(st.integers(0, 32), st.integers(17, 24)))
steps = st.lists(st.tuples(prefixes, st.one_of(st.none(), st.integers(1, 255))), max_size=120)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_any_changes_in_any_order(batches: list[list[tuple[tuple[int, int], int | None]]], width: int) -> None:
    memory = bytearray(MEMORY)
    table, body, model = Prefixes(), Body(memoryview(memory), width), {}
    for batch in batches:
        dirty: set[int] = set()
        for (address, length), number in batch:
            network = address >> (32 - length) << (32 - length)
            before = table.put(key_of(network, length), number, dirty)
            assert before == model.pop((network, length), None)
            if number is not None:
                model[network, length] = number
        assert body.write(dirty, table, 0) == set()
        body.reclaim()
        asked = [address for part in batches for (address, _), _ in part]
        asked += [address ^ bit for address in asked for bit in (1, 0x100, 0x10000)]
        found = lookup(blob_of(memory, width), np.array(asked, np.int64))
        for address, value in zip(asked, found.tolist(), strict=True):
            best = max((len_ for net, len_ in model if address >> (32 - len_) == net >> (32 - len_)), default=None)
            want = None if best is None else model[address >> (32 - best) << (32 - best), best]
            assert value == (NO_ROUTE if want is None else want)
            longest = table.longest(address)
            assert (None if longest is None else longest[1]) == want
        for top in dirty:
            assert ranges_of(memoryview(memory), top, width) == table.ranges(top)
    assert len(table) == len(model)


def test_a_full_table_leads_elsewhere_and_recovers() -> None:
    memory = bytearray((1 << 18) + 4096 + 576)
    table, body, dirty = Prefixes(), Body(memoryview(memory), 1), set()  # type: ignore[var-annotated]
    for top in range(300):
        for octet in range(0, 40, 2):
            table.put(key_of(top << 16 | octet << 8, 24), 1 + octet % 7, dirty)
    failed = body.write(sorted(dirty), table, 9)
    assert failed
    assert ranges_of(memoryview(memory), max(failed), 1) == [(0, 9)]
    assert ranges_of(memoryview(memory), 0, 1) == table.ranges(0)
    kept, gone = min(failed), {top for top in range(300) if top not in failed}
    for top in gone:
        for octet in range(0, 40, 2):
            table.put(key_of(top << 16 | octet << 8, 24), None, dirty)
    body.write(gone, table, 9)
    body.reclaim()
    assert body.write([kept], table, 9) == set()
    assert ranges_of(memoryview(memory), kept, 1) == table.ranges(kept)


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 500), st.integers(1, 1000), min_size=1, max_size=40))
def test_buckets_go_by_weight(weights: dict[int, int]) -> None:
    found = shares(weights)
    assert sum(found.values()) == 256
    assert min(found.values()) >= 1
    total = sum(weights.values())
    most = max(weights, key=lambda number: weights[number])
    assert abs(found[most] - 256 * weights[most] / total) <= len(weights)
    assert Counter(buckets(weights, [])) == Counter(found)


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(1, 50), st.integers(1, 9), min_size=1, max_size=12),
    st.dictionaries(st.integers(1, 50), st.integers(1, 9), min_size=1, max_size=12),
)
def test_only_buckets_that_must_move_do(before: dict[int, int], after: dict[int, int]) -> None:
    first = buckets(before, [])
    second = buckets(after, first)
    had, have = shares(before), shares(after)
    must = sum(max(0, count - have.get(number, 0)) for number, count in had.items())
    assert sum(a != b for a, b in zip(first, second, strict=True)) == must
