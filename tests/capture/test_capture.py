"""Captures of every format and link layer that is read, cut and damaged ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from pathlib import Path

import pytest

from rbops.capture import Capture, read_capture, reader
from rbops.errors import UsageError
from rbops.vlb.replay import packets_of
from tests.support.captures import pcap_head, pcap_record

IP = bytes([0x45, 0, 0, 32]) + bytes(5) + bytes([17, 0, 0]) + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + bytes(12)
"""32 octets of an IPv4 packet."""
ETHERNET = bytes(12) + b"\x08\x00" + IP


def read(tmp_path: Path, data: bytes) -> Capture:
    path = tmp_path / "x"
    path.write_bytes(data)
    return read_capture(path)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    padded = body + bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(padded) + 12)
    return struct.pack(f"{order}I", kind) + size + padded + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", link: int = 1, options: bytes = b"", snap: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, snap) + options, order)


def enhanced(octets: bytes, length: int, time: int = 0, order: str = "<", number: int = 0) -> bytes:
    head = struct.pack(f"{order}IIIII", number, time >> 32, time & 0xFFFFFFFF, len(octets), length)
    return block(6, head + octets, order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    data = pcap_head(order, magic) + pcap_record(ETHERNET, 100, order=order, seconds=7, fraction=5)
    found = read(tmp_path, data)
    assert (found.size.tolist(), found.time.tolist(), found.warning) == ([100], [7 * 10**9 + 5 * unit], None)
    assert packets_of(found, "x").size.tolist() == [100]


@pytest.mark.parametrize("fcs", [0, 4])
def test_the_high_bits_of_the_link_type_speak_of_the_fcs(tmp_path: Path, fcs: int) -> None:
    link = 1 | (0x04000000 | fcs // 2 << 28 if fcs else 0)
    found = read(tmp_path, pcap_head(link=link) + pcap_record(ETHERNET + bytes(fcs)))
    assert found.size.tolist() == [len(ETHERNET)]
    assert (found.end - found.network).tolist() == [len(IP)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("options", "nanoseconds"),
    [
        (b"", 5000),
        ((9, b"\x09"), 5),
        ((9, b"\x8a"), 5 * 10**9 // 1024),  # 2 to the -10 of a second
    ],
    ids=["microseconds", "nanoseconds", "binary"],
)
def test_pcapng(tmp_path: Path, order: str, options: bytes | tuple[int, bytes], nanoseconds: int) -> None:
    written = b""
    if isinstance(options, tuple):
        written = struct.pack(f"{order}HH", options[0], 1) + options[1] + bytes(3) + bytes(4)
    other = block(5, bytes(8), order)  # statistics, which say nothing of packets
    data = section(order) + interface(order, options=written) + other + enhanced(ETHERNET, 200, 5, order)
    found = read(tmp_path, data)
    assert (found.size.tolist(), found.time.tolist()) == ([200], [nanoseconds])
    assert packets_of(found, "x").skipped == 0


def test_pcapng_of_two_sections_and_link_layers(tmp_path: Path) -> None:
    first = section() + interface(link=113) + enhanced(bytes(14) + b"\x08\x00" + IP, 16 + 60)
    second = section(">") + interface(">", link=1, snap=40) + block(3, struct.pack(">I", 90) + ETHERNET[:40], ">")
    found = read(tmp_path, first + second)
    assert found.size.tolist() == [14 + 60, 90]
    assert packets_of(found, "x").skipped == 0


@pytest.mark.parametrize(
    ("link", "octets"),
    [
        (1, ETHERNET),
        (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00" + IP),
        (101, IP),
        (228, IP),
        (113, bytes(14) + b"\x08\x00" + IP),
        (276, b"\x08\x00" + bytes(18) + IP),
        (0, b"\x02\0\0\0" + IP),
        (0, b"\0\0\0\x02" + IP),
        (108, b"\0\0\0\x02" + IP),
        (12, IP),
        (14, IP),
        (229, IP),
    ],
    ids=[
        "Ethernet",
        "VLAN",
        "raw",
        "raw IPv4",
        "cooked",
        "cooked 2",
        "null",
        "null big",
        "loop",
        "raw 12",
        "raw 14",
        "v6",
    ],
)
def test_link_layers(tmp_path: Path, link: int, octets: bytes) -> None:
    found = packets_of(read(tmp_path, pcap_head(link=link) + pcap_record(octets)), "x")
    plain = packets_of(read(tmp_path, pcap_head() + pcap_record(ETHERNET)), "x")
    assert found.key.tolist() == plain.key.tolist()
    assert found.skipped == 0


def test_gzipped(tmp_path: Path) -> None:
    packed = gzip.compress(pcap_head() + pcap_record(ETHERNET) * 2000, mtime=0)
    assert len(read(tmp_path, packed).size) == 2000
    cut = read(tmp_path, packed[: len(packed) // 2])
    assert 0 < len(cut.size) < 2000
    assert cut.warning is not None


@pytest.mark.parametrize("last", [pcap_record(ETHERNET)[:7], pcap_record(ETHERNET)[:-1]], ids=["header", "packet"])
def test_a_cut_pcap_counts_as_far_as_it_goes(tmp_path: Path, last: bytes) -> None:
    found = read(tmp_path, pcap_head() + pcap_record(ETHERNET, 80) + last)
    assert found.size.tolist() == [80]
    assert found.warning is not None
    assert "the 1 packets before count" in found.warning


def test_a_cut_pcapng_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = section() + interface() + enhanced(ETHERNET, 80)
    for cut in (enhanced(ETHERNET, 90)[:5], enhanced(ETHERNET, 90)[:-2]):
        found = read(tmp_path, whole + cut)
        assert (found.size.tolist(), found.warning is not None) == ([80], True)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "capture.damaged"),
        (b"not a capture at all, really", "capture.damaged"),
        (pcap_head(link=105) + pcap_record(ETHERNET), "capture.link-type"),
        (pcap_head(), "capture.empty"),
        (pcap_head() + bytes(7), "capture.empty"),
        (pcap_head() + pcap_record(ETHERNET, 10), "capture.damaged"),
        (section() + enhanced(ETHERNET, 60), "capture.damaged"),
        (section() + interface() + struct.pack("<II", 6, 13) + bytes(8), "capture.damaged"),
        (section() + interface() + enhanced(ETHERNET, 10), "capture.damaged"),
        (block(0x0A0D0D0A, bytes(16)), "capture.damaged"),
        (b"\x1f\x8b" + bytes(40), "capture.damaged"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bz2.compress(bytes(99)), "compressed by bzip2"),
        (lzma.compress(bytes(99)), "compressed by xz"),
        (struct.pack("<I", 0xA1B2CD34) + bytes(40), "pcap with longer records"),
        (b"snoop\0\0\0" + bytes(40), "snoop's"),
    ],
    ids=["bzip2", "xz", "longer records", "snoop"],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, data)
    assert caught.value.code == "capture.damaged"
    assert f"not a pcap or pcapng file: it is {what}" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_capture(tmp_path / "none.pcap")
    assert caught.value.code == "capture.unreadable"


def tcp(payload: int, *, options: int = 0, tag: bytes = b"", six: bool = False) -> bytes:
    """A TCP packet's Ethernet frame, its payload zero octets."""
    header = bytes([0, 80, 1, 2]) + bytes(8) + bytes([(20 + options) // 4 << 4]) + bytes(7 + options)
    length = len(header) + payload
    ipv4 = bytes([0x45, 0]) + struct.pack(">H", (20 + length) & 0xFFFF) + bytes(5) + bytes([6]) + bytes(10)
    ipv6 = bytes([0x60]) + bytes(5) + bytes([6]) + bytes(33)
    kind = b"\x86\xdd" if six else b"\x08\x00"
    return bytes(12) + tag + kind + (ipv6 if six else ipv4) + header + bytes(payload)


@pytest.mark.parametrize(
    ("frame", "sizes"),
    [
        (tcp(65_172), [1514] * 44 + [54 + 65_172 - 44 * 1460]),
        (tcp(10 * 1448, options=12), [1514] * 10),
        (tcp(14_600, tag=b"\x81\x00\x00\x07"), [1518] * 10),
        (tcp(14_400, six=True), [1514] * 10),
        (bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8) + bytes([17]) + bytes(10 + 8 + 14_720), [1514] * 10),
    ],
    ids=["whole", "timestamps", "VLAN", "IPv6", "UDP"],
)
@pytest.mark.parametrize("snap", [65_535, 96])
def test_merged_frames_count_as_segments(tmp_path: Path, frame: bytes, sizes: list[int], snap: int) -> None:
    records = pcap_record(ETHERNET, 60) + pcap_record(frame[:snap], len(frame), seconds=5) + pcap_record(ETHERNET, 60)
    found = read(tmp_path, pcap_head() + records)
    assert found.size.tolist() == [60, *sizes, 60]
    assert found.time.tolist() == [0, *([5 * 10**9] * len(sizes)), 0]
    assert found.warning is not None
    assert f"they count as {len(sizes)} segments" in found.warning


def test_with_merged_frames_smaller_ones_were_merged_too(tmp_path: Path) -> None:
    data = pcap_head() + b"".join(pcap_record(frame[:64], len(frame)) for frame in (tcp(2920), tcp(65_172), tcp(1460)))
    assert read(tmp_path, data).size.tolist()[:2] == [1514, 1514]
    assert len(read(tmp_path, data).size) == 2 + 45 + 1


def test_jumbo_frames_are_frames(tmp_path: Path) -> None:
    found = read(tmp_path, pcap_head() + pcap_record(tcp(8960)[:64], 9014))
    assert (found.size.tolist(), found.warning) == ([9014], None)


def test_the_same_traffic_merged_or_not_has_the_same_sizes(tmp_path: Path) -> None:
    small = b"".join(pcap_record(ETHERNET, 60) for _ in range(2000))
    merged = read(tmp_path, pcap_head() + small + pcap_record(tcp(65_172)[:64], 65_226) * 100)
    apart = b"".join(pcap_record(tcp(1460)[:64], 1514) * 44 + pcap_record(tcp(932)[:64], 986) for _ in range(100))
    plain = read(tmp_path, pcap_head() + small + apart)
    assert merged.size.tolist() == plain.size.tolist()
    assert len(packets_of(merged, "x").key) == len(packets_of(plain, "x").key)


def test_packets_without_their_ports_are_counted(tmp_path: Path) -> None:
    heads = b"".join(pcap_record(bytes(12) + b"\x08\x00" + IP[:20], 60) for _ in range(3))
    found = packets_of(
        read(tmp_path, pcap_head() + heads + pcap_record(ETHERNET[:34] + b"\x04\xd2\x00\x35" + bytes(8))), "x"
    )
    assert (found.portless, len(set(found.key.tolist()))) == (3, 2)


def test_times_beyond_all_clocks(tmp_path: Path) -> None:
    """A unit of a second and all bits set is a time that no 64 bits of nanoseconds hold."""
    options = struct.pack("<HHBxxx", 9, 1, 0)
    data = section() + interface(options=options) + enhanced(ETHERNET, 60, (1 << 64) - 1)
    assert read(tmp_path, data).time.tolist() == [(1 << 62) - 1]


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_OCTETS", 1 << 16)
    with pytest.raises(UsageError) as caught:
        read(tmp_path, gzip.compress(pcap_head() + bytes(1 << 20)))
    assert caught.value.code == "capture.too-large"
    with pytest.raises(UsageError) as caught:
        read(tmp_path, pcap_head() + bytes(1 << 20))
    assert caught.value.code == "capture.too-large"
