"""All ranges of an IPv6 table: as its prefixes make them, and as memory has them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp.table import Body
from rbops.dataplane.xdp.table6 import Table6, lookup6
from rbops.dataplane.xdp.table6read import painted6, ranges6

PREFIXES = st.dictionaries(
    st.builds(
        lambda address, length: (address >> (128 - length) << (128 - length), length),
        st.builds(lambda high, low: (0x2001 << 112) | high << 64 | low, st.integers(0, 0xFFFFF), st.integers(0, 0xFF)),
        st.integers(0, 128),
    ),
    st.integers(1, 9),
    max_size=60,
)


@settings(deadline=None)
@given(PREFIXES)
def test_memory_and_prefixes_make_the_same_ranges(prefixes: dict[tuple[int, int], int]) -> None:
    memory = memoryview(bytearray(3 << 20))
    table = Table6(Body(memory, 2, start=0))
    for (address, length), number in prefixes.items():
        table.put(address, length, number)
    table.write()
    wanted = painted6(sorted((*prefix, number) for prefix, number in prefixes.items()))
    assert ranges6(memory, table.at) == wanted
    # The same by many at once, over what was there before, and nothing of it in the end.
    other = memoryview(bytearray(3 << 20))
    bulk = Table6(Body(other, 2, start=0))
    groups: dict[int, list[int]] = {}
    for (address, length), number in prefixes.items():
        groups.setdefault(number, []).append(address << 8 | length)
    keys = [key for group in groups.values() for key in group]
    assert bulk.put_all(keys, 99) == Counter({None: len(keys)} if keys else {})
    bulk.write()
    for number, group in groups.items():
        assert bulk.put_all(group, number) == Counter({99: len(group)})
    bulk.write()
    assert ranges6(other, bulk.at) == wanted
    assert len(bulk) == len(keys)
    assert bulk.put_all(keys, None).total() == len(keys)
    bulk.write()
    assert ranges6(other, bulk.at) == [(0, 0)]
    for start, number in wanted:
        assert lookup6(memory, table.at, start) == number
        assert lookup6(memory, table.at, (start - 1) % (1 << 128)) == _number(wanted, (start - 1) % (1 << 128))


def _number(ranges: list[tuple[int, int]], address: int) -> int:
    return next(number for start, number in reversed(ranges) if start <= address)


def test_all_forms_of_a_chunk() -> None:
    for count in (1, 5, 9, 60, 100, 3000, 17000):
        memory = memoryview(bytearray(8 << 20))
        table = Table6(Body(memory, 2, start=0))
        prefixes = [((0x2001 << 112) | at << 97, 32, at % 7 + 1) for at in range(count)]
        for prefix in prefixes:
            table.put(*prefix)
        table.write()
        assert ranges6(memory, table.at) == painted6(sorted(prefixes))
