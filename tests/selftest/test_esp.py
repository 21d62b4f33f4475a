"""ESP in Python: what is sealed opens again, and nothing else does. Linux as the other end: tests/fullkernel."""

from __future__ import annotations

import pytest

from rbops.selftest.esp import Association, Unopened
from tests.support.esp import CBC, GCM

KEYS = {"gcm": (bytes.fromhex(GCM[0]),), "cbc": tuple(bytes.fromhex(word) for word in CBC[:2])}


@pytest.mark.parametrize("cipher", KEYS)
@pytest.mark.parametrize("size", [20, 21, 30, 31, 64, 1400])
@pytest.mark.parametrize("esn", [False, True])
def test_what_is_sealed_opens(cipher: str, size: int, *, esn: bool) -> None:
    one = Association(0x70100, KEYS[cipher], esn)
    packet = bytes(number & 0xFF for number in range(size))
    sequence = (3 << 32 | 5) if esn else 5
    sealed = one.seal(packet, sequence)
    assert sealed[:8] == bytes.fromhex("0007010000000005")
    assert (len(sealed) - 8) % 4 == 0
    assert packet[4:20] not in sealed
    assert one.open(sealed, sequence >> 32) == packet
    assert one.seal(packet, sequence) != sealed, "its initialization vector is new each time"


@pytest.mark.parametrize("cipher", KEYS)
def test_what_is_changed_or_of_another_does_not_open(cipher: str) -> None:
    one = Association(0x70100, KEYS[cipher])
    sealed = one.seal(bytes(64), 9)
    for at in (4, 9, 30, len(sealed) - 1):
        with pytest.raises(Unopened, match="check value"):
            one.open(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :])
    with pytest.raises(Unopened, match="check value"):
        one.open(sealed, 1)
    with pytest.raises(Unopened, match="SPI"):
        Association(0x70000, KEYS[cipher]).open(sealed)
    other = tuple(bytes(reversed(word)) for word in KEYS[cipher])
    with pytest.raises(Unopened, match="check value"):
        Association(0x70100, other).open(sealed)
    for size in range(0, len(sealed), 7):
        with pytest.raises(Unopened):
            one.open(sealed[:size])


def test_keys_are_in_no_text() -> None:
    one = Association(1, KEYS["cbc"])
    assert KEYS["cbc"][0].hex()[:8] not in repr(one)
    assert repr(KEYS["cbc"][0])[:12] not in repr(one)
