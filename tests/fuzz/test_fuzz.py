"""A few thousand changed inputs for each target of the fuzzer; ``make fuzz`` is the long way.

Random changes of the seeds, the same ones in every run, so that a red test is not luck.
"""

from __future__ import annotations

import random
import re
import resource

import pytest

from tests.fuzz.targets import TARGETS

RUNS = {"spec": 500, "click": 700, "facts": 100, "netlink": 20_000, "capture": 4_000, "agent": 8_000, "node": 1_500}
GROWTH_KB = 200_000
"""Of the process: caches fill, and what leaks grows with every input."""

_TOKEN = re.compile(rb"[A-Za-z_]{3,}|[0-9.]+|[^\sA-Za-z0-9]")
_ODD = (
    b"\0",
    b"\xff\xff\xff\xff",
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"\xef\xbb\xbf",
    b"[[[[",
    b'"',
    b"\xed\xb2\x80",
)


def changed(seed: bytes, words: list[bytes], chance: random.Random) -> bytes:
    """``seed`` with one to six octets or words put in, taken out, doubled or changed."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        place = chance.randint(0, len(data))
        match chance.randint(0, 5):
            case 0:
                data[place : place + chance.randint(1, 20)] = b""
            case 1:
                data[place:place] = chance.choice(words)
            case 2:
                data[place : place + chance.randint(0, 8)] = chance.choice(_ODD)
            case 3:
                data[place:place] = data[place : place + chance.randint(1, 200)]
            case 4:
                data[place : place + 1] = bytes([chance.randint(0, 255)])
            case _:
                word = chance.choice(words)
                data = bytearray(data.replace(word, chance.choice(words), 1))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(300)
def test_no_input_crashes_hangs_or_leaks(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)  # noqa: S311  the same changes in every run
    seeds = target.seeds()
    words = sorted({word for seed in seeds for word in _TOKEN.findall(seed)})
    for seed in seeds:
        target.run(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(RUNS[name]):
        data = changed(chance.choice(seeds), words, chance)
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001  whatever it is
            pytest.fail(f"{error!r} with {data!r}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KB
