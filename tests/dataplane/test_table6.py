"""The IPv6 table that changes in place, against a plain list of prefixes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp.table import DIRECT_BYTES, Body
from rbops.dataplane.xdp.table6 import ROOT_BYTES, Table6, lookup6

MEMORY = 1 << 21

# Crowded: few words in each 16 bits, so that prefixes nest at all depths and ranges meet.
_word = st.sampled_from([0, 1, 0xFF, 0x100, 0x2001, 0x8000, 0xFFFF])
addresses = st.lists(_word, min_size=8, max_size=8).map(
    lambda words: sum(word << 16 * (7 - at) for at, word in enumerate(words))
)
lengths = st.one_of(st.integers(0, 128), st.sampled_from([0, 16, 17, 31, 32, 33, 48, 64, 127, 128]))
steps = st.lists(st.tuples(addresses, lengths, st.one_of(st.none(), st.integers(1, 300))), max_size=40)


def table(size: int = MEMORY) -> tuple[Table6, Body, memoryview]:
    memory = memoryview(bytearray(size))
    body = Body(memory, 1)
    return Table6(body), body, memory


def best(model: dict[tuple[int, int], int], address: int) -> int:
    for length in range(128, -1, -1):
        number = model.get((address >> (128 - length) << (128 - length), length))
        if number is not None:
            return number
    return 0


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4))
def test_any_changes_in_any_order(batches: list[list[tuple[int, int, int | None]]]) -> None:
    made, body, memory = table()
    model: dict[tuple[int, int], int] = {}
    asked = [address ^ bit for part in batches for address, _, _ in part for bit in (0, 1, 1 << 64, 1 << 80, 1 << 112)]
    for batch in batches:
        for address, length, number in batch:
            network = address >> (128 - length) << (128 - length)
            assert made.put(network, length, number) == model.pop((network, length), None)
            if number is not None:
                model[network, length] = number
        made.write()
        body.reclaim()
        assert not made.failed
        for address in asked:
            want = best(model, address)
            assert lookup6(memory, made.at, address) == want
            longest = made.longest(address)
            assert (0 if longest is None else longest[2]) == want
    assert len(made) == len(model)
    for network, length in list(model):
        made.put(network, length, None)
    made.write()
    body.reclaim()
    assert body.used == ROOT_BYTES
    assert all(lookup6(memory, made.at, address) == 0 for address in asked)


def test_every_form_of_a_chunk() -> None:
    made, body, memory = table(1 << 22)
    model = {}
    for top, count in enumerate((1, 3, 7, 8, 9, 64, 65, 66, 300, 20000), 1):
        for at in range(count):
            # Every second one, so that none merges with its neighbour; numbers differ besides.
            low = at * 3 & 0xFFFF
            model[top << 112 | low << 96, 32] = 1 + (at + top) % 200
    for (network, length), number in model.items():
        made.put(network, length, number)
    made.write()
    for network, length in model:
        for address in (network, network | 1, network | 1 << 96, network | 2 << 96, network >> 112 << 112):
            assert lookup6(memory, made.at, address) == best(model, address), (hex(network), length)
    before = body.used
    for network, length in model:
        made.put(network, length, None)
    made.write()
    body.reclaim()
    assert body.used == ROOT_BYTES < before


def test_one_change_below_many_writes_one_word_of_the_others() -> None:
    made, body, memory = table()
    for at in range(200):
        made.put(0x2001 << 112 | at << 96 | 5 << 80, 48, 1 + at)
    made.write()
    image = bytes(memory)
    made.put(0x2001 << 112 | 7 << 96 | 6 << 80, 48, 9)
    made.write()
    differing = [at for at in range(0, len(image), 4) if image[at : at + 4] != memory[at : at + 4]]
    chunk = {at for at in differing if at >= DIRECT_BYTES + ROOT_BYTES}
    assert len(chunk) == len(differing)
    # The new node, and the word of the old one's parent.
    assert len(differing) <= 1 + 12
    assert body.left == 1


def test_a_full_table_leads_elsewhere_and_recovers() -> None:
    made, body, memory = table(DIRECT_BYTES + ROOT_BYTES + 2 * 4096 + 576)
    for at in range(200):
        made.put(0x2001 << 112 | at << 96 | 5 << 80, 48, 1 + at)
    made.write(instead=99)
    assert made.failed
    found = {lookup6(memory, made.at, 0x2001 << 112 | at << 96 | 5 << 80) for at in range(200)}
    assert 99 in found
    for at in range(5, 200):
        made.put(0x2001 << 112 | at << 96 | 5 << 80, 48, None)
    made.write(instead=99)
    body.reclaim()
    made.write(instead=99)
    assert not made.failed
    for at in range(200):
        assert lookup6(memory, made.at, 0x2001 << 112 | at << 96 | 5 << 80) == (1 + at if at < 5 else 0)
