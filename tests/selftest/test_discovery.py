"""Neighbour solicitations as they are sent, and advertisements as they come back."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from rbops.selftest.discovery import advertised, solicitation
from rbops.selftest.wire import internet_checksum, mac_bytes

MAC = mac_bytes("02:4e:00:00:00:02")


def advertisement(
    *, target: str = "2001:db8::1", options: bytes = b"\x02\x01\x02\x4c\x00\x00\x00\x01", hops: int = 255
) -> bytes:
    body = b"\x88\0\0\0\x60\0\0\0" + IPv6Address(target).packed + options
    addresses = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed
    ip = struct.pack("!IHBB", 6 << 28, len(body), 58, hops) + addresses
    return MAC + mac_bytes("02:4c:00:00:00:07") + b"\x86\xdd" + ip + body


def test_a_solicitation_is_what_the_rfcs_say() -> None:
    frame = solicitation(MAC, "2001:db8::2", "2001:db8::a1:b2c3")
    assert frame[:6].hex(":") == "33:33:ff:a1:b2:c3"
    assert frame[6:12] == MAC
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1:ffa1:b2c3")
    assert frame[21] == 255
    assert frame[54] == 135
    assert IPv6Address(frame[62:78]) == IPv6Address("2001:db8::a1:b2c3")
    assert frame[78:] == b"\x01\x01" + MAC
    pseudo = frame[22:54] + struct.pack("!II", len(frame) - 54, 58)
    assert internet_checksum(pseudo + frame[54:]) == 0


def test_the_answer() -> None:
    assert advertised(advertisement(), "2001:db8::1") == "02:4c:00:00:00:01"
    other_first = advertisement(options=b"\x0e\x01" + bytes(6) + b"\x02\x01\x02\x4c\x00\x00\x00\x01")
    assert advertised(other_first, "2001:db8::1") == "02:4c:00:00:00:01"
    assert advertised(advertisement(options=b""), "2001:db8::1") == "02:4c:00:00:00:07"


@pytest.mark.parametrize(
    "frame",
    [
        advertisement(target="2001:db8::9"),
        advertisement(hops=64),
        advertisement()[:70],
        solicitation(MAC, "2001:db8::2", "2001:db8::1"),
        b"",
        MAC + MAC + b"\x08\x06" + bytes(60),
    ],
)
def test_what_is_no_answer(frame: bytes) -> None:
    assert advertised(frame, "2001:db8::1") is None


def test_an_option_of_no_length_ends_it() -> None:
    assert advertised(advertisement(options=bytes(16)), "2001:db8::1") == "02:4c:00:00:00:07"
