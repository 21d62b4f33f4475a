"""The Python side of the frame against itself, and (as root) against what the BPF programs write and accept."""

from __future__ import annotations

import ipaddress
import itertools
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_PASS, XDP_TX, Object, xdp_context
from rbops.selftest.reordering import Lateness, lateness, measure
from rbops.selftest.wire import (
    UDP_PORT,
    Epoch,
    FlowHeaders,
    FrameFault,
    Ident,
    digest,
    header_bytes,
    headers,
    internet_checksum,
    mac_bytes,
    pack_headers,
    smallest_size,
)

OBJ = Path(__file__).parents[2] / "rbops" / "selftest" / "obj"
EPOCH = Epoch(0xABCDE001, (0x0123456789ABCDEF, 0xFEDCBA9876543210), 60, 2)
LOOPBACK = 1
GOLDEN = 0x9E3779B97F4A7C15


SOURCES = {4: "198.18.0.2", 6: "2001:db8::2"}
DESTINATIONS = {4: "198.18.1.2", 6: "2001:db8:0:1::2"}
both_families = pytest.mark.parametrize("family", [4, 6])


def flow(number: int = 0, ttl: int = 64, family: int = 4) -> FlowHeaders:
    macs = mac_bytes("02:4c:00:00:00:00"), mac_bytes("02:4e:00:00:00:02")
    return FlowHeaders(*macs, SOURCES[family], DESTINATIONS[family], ttl, number)


def frame(ident: Ident, epoch: Epoch, ttl: int = 64) -> bytes:
    word = digest(ident, epoch)
    rest = epoch.length + 4 - smallest_size(epoch.family)
    count = -(-rest // 8)
    body = b"".join(struct.pack("<Q", (word + GOLDEN * (index + 1)) & (1 << 64) - 1) for index in range(count))
    return headers(flow(ident.flow, ttl, epoch.family), epoch.length) + ident.pack(epoch) + body[:rest]


def test_headers_are_what_the_rfcs_say() -> None:
    header = headers(flow(3), 60)
    assert len(header) == 42
    assert internet_checksum(header[14:34]) == 0
    assert header[12:14] == b"\x08\x00"
    assert struct.unpack("!H", header[16:18]) == (46,)
    assert header[22] == 64
    assert struct.unpack("!HHHH", header[34:42]) == (49155, UDP_PORT, 26, 0)


def test_those_of_ipv6_too() -> None:
    header = headers(flow(3, family=6), 90)
    assert len(header) == header_bytes(6) == 62
    assert header[12:14] == b"\x86\xdd"
    first, payload, following, hops = struct.unpack("!IHBB", header[14:22])
    assert (first >> 28, first >> 20 & 0xFF, payload, following, hops) == (6, 0, 36, 17, 64)
    assert header[22:38] == ipaddress.IPv6Address("2001:db8::2").packed
    assert header[38:54] == ipaddress.IPv6Address("2001:db8:0:1::2").packed
    assert struct.unpack("!HHHH", header[54:62]) == (49155, UDP_PORT, 36, 0)
    labels = {headers(flow(number, family=6), 90)[14:18] for number in range(1024)}
    assert len(labels) == 1024
    assert all(label[0] == 0x60 for label in labels)


def test_the_smallest_frames() -> None:
    assert (smallest_size(4), smallest_size(6)) == (64, 84)


def test_the_digest_depends_on_everything_it_covers() -> None:
    ident = Ident(EPOCH.magic, 1, 2, 3, 1)
    others = [
        (ident, Epoch(EPOCH.magic, (1, EPOCH.keys[1]), 60, 2)),
        (ident, Epoch(EPOCH.magic, (EPOCH.keys[0], 1), 60, 2)),
        (ident, Epoch(EPOCH.magic, EPOCH.keys, 61, 2)),
        (Ident(EPOCH.magic ^ 1, 1, 2, 3, 1), EPOCH),
        (Ident(EPOCH.magic, 0, 2, 3, 1), EPOCH),
        (Ident(EPOCH.magic, 1, 3, 3, 1), EPOCH),
        (Ident(EPOCH.magic, 1, 2, 4, 1), EPOCH),
        (Ident(EPOCH.magic, 1, 2, 3, 0), EPOCH),
    ]
    low = [digest(*other) & 0xFFFFFFFF for other in [(ident, EPOCH), *others]]
    assert len(set(low)) == len(low)


def test_ident_fits_the_smallest_frame_and_comes_back() -> None:
    ident = Ident(EPOCH.magic, 1, 2, 3, 1)
    assert len(ident.pack(EPOCH)) == 18
    assert Ident.of_frame(frame(ident, EPOCH)) == ident
    six = replace(EPOCH, family=6, length=80)
    assert Ident.of_frame(frame(ident, six), 6) == ident


def test_mac_addresses() -> None:
    assert mac_bytes("02:4e:00:00:00:02") == b"\x02\x4e\x00\x00\x00\x02"
    with pytest.raises(ValueError, match="not a valid MAC address"):
        mac_bytes("02:4e:00")


@pytest.mark.root
def test_groups_of_flows_take_turns_in_bursts(bpf_objects: Path) -> None:
    assert bpf_objects.exists()
    with Object(OBJ / "gen.bpf.o") as source:
        source.resize("flows", 4)
        source.load()
        entries = [pack_headers(headers(flow(number), 60), 1, number) for number in range(4)]
        source.map("flows").update_batch(b"".join(i.to_bytes(4, "little") for i in range(4)), b"".join(entries))
        config = struct.pack("<QQIIIIIHHIII4x", *EPOCH.keys, EPOCH.magic, LOOPBACK, 4, 2, 3, 0, 0, 0, 0, 0)
        source.map("config").update(bytes(4), config)
        program = source.program("generate")
        written = [Ident.of_frame(program.run(bytes(60)).frame) for _ in range(16)]
    assert [(ident.flow, ident.sequence) for ident in written] == [
        (0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2),
        (3, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2),
        (0, 3), (1, 3), (1, 4), (0, 4),
    ]  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize(
    ("family", "length"),
    [(4, 60), (4, 61), (4, 67), (4, 68), (4, 100), (4, 1514), (6, 80), (6, 81), (6, 88), (6, 1514)],
)
def test_the_generator_writes_exactly_this_frame(bpf_objects: Path, family: int, length: int) -> None:
    assert bpf_objects.exists()
    epoch = Epoch(EPOCH.magic, EPOCH.keys, length, 2, family=family)
    with Object(OBJ / "gen.bpf.o") as source:
        source.resize("flows", 4)
        source.load()
        entries = [
            pack_headers(headers(flow(number, family=family), length), to, number) for number in (0, 1) for to in (1, 2)
        ]
        source.map("flows").update_batch(b"".join(i.to_bytes(4, "little") for i in range(4)), b"".join(entries))
        # Without a context the kernel runs it as on the loopback device.
        config = struct.pack("<QQIIIIIHHIII4x", *epoch.keys, epoch.magic, LOOPBACK, 4, 4, 1, 0, family, 0, 0, 0)
        source.map("config").update(bytes(4), config)
        program = source.program("generate")
        written = [program.run(bytes([255]) * length) for _ in range(10)]
    turns = [(number, to) for number in (0, 1) for to in (1, 2)]
    entries = [turns[(at % 4 + at // 4) % 4] for at in range(10)]  # every round starts one further on
    planned = [Ident(epoch.magic, 0, to, at // 4, number) for at, (number, to) in enumerate(entries)]
    assert [run.verdict for run in written] == [XDP_TX] * 10
    assert [run.frame for run in written] == [frame(ident, epoch) for ident in planned]


class _Checker:
    """The sink's program on single frames."""

    def __init__(self, length: int = 60, family: int = 4) -> None:
        self.epoch = Epoch(EPOCH.magic, EPOCH.keys, length, 2, family=family)
        source = Object(OBJ / "sink.bpf.o")
        rooms = {"expected": 8, "order": 8, "recent": 8, "seen": 64, "tallies": 4, "misdelivered": 16, "lateness": 4}
        for name, size in rooms.items():
            source.resize(name, size)
        source.load()
        self.source = source
        shape = (self.epoch.magic, length, 4, 2, 4, 1, UDP_PORT.to_bytes(2, "big"))
        source.map("config").update(bytes(4), struct.pack("<QQIIIIIH2sIII4x", *self.epoch.keys, *shape, 0, 0, family))
        for number in (0, 1):
            entry = pack_headers(headers(flow(number, 63, family), length), 1, number)
            source.map("expected").update(number.to_bytes(4, "little"), entry)
        address = ipaddress.ip_address(SOURCES[family]).packed.ljust(16, b"\0")
        source.map("sources").update(address, (0).to_bytes(4, "little"))
        self.program = source.program("check")

    def give(self, data: bytes) -> int:
        return self.program.run(data, context=xdp_context(len(data), LOOPBACK)).verdict

    def lateness(self) -> Lateness:
        counts = struct.unpack("<128Q", self.source.map("lateness").lookup(bytes(4)) or b"")
        return Lateness(counts[:64], counts[64:])

    def faults(self) -> dict[str, int]:
        tally = struct.unpack("<16Q", self.source.map("tallies").lookup(bytes(4)) or b"")
        return {kind.name: tally[kind] for kind in FrameFault if kind < 10 and tally[kind]}


def good(sequence: int, *, number: int = 0, length: int = 60, destination: int = 1, family: int = 4) -> bytes:
    epoch = Epoch(EPOCH.magic, EPOCH.keys, length, 2, family=family)
    return frame(Ident(epoch.magic, 0, destination, sequence, number), epoch, ttl=63)


@pytest.fixture
def checker(bpf_objects: Path) -> _Checker:
    assert bpf_objects.exists()
    return _Checker()


@pytest.mark.root
class TestSink:
    def test_right_frames_leave_no_trace(self, checker: _Checker) -> None:
        assert [checker.give(good(sequence)) for sequence in range(200)] == [XDP_DROP] * 200
        assert checker.faults() == {}
        seen = b"".join(checker.source.map("seen").lookup(i.to_bytes(4, "little")) or b"" for i in range(4))
        assert int.from_bytes(seen, "little") == (1 << 200) - 1

    @pytest.mark.parametrize("byte", range(60))
    def test_every_changed_byte_of_the_smallest_frame_is_found(self, checker: _Checker, byte: int) -> None:
        data = bytearray(good(7))
        data[byte] ^= 0x20
        verdict = checker.give(bytes(data))
        assert verdict == XDP_DROP
        assert checker.faults() != {}

    @pytest.mark.parametrize("byte", range(80))
    def test_every_changed_byte_of_the_smallest_ipv6_frame_is_found(self, bpf_objects: Path, byte: int) -> None:
        assert bpf_objects.exists()
        checker = _Checker(80, family=6)
        data = bytearray(good(7, length=80, family=6))
        data[byte] ^= 0x20
        assert checker.give(bytes(data)) == XDP_DROP
        assert checker.faults() != {}

    def test_right_frames_of_ipv6_leave_no_trace(self, bpf_objects: Path) -> None:
        assert bpf_objects.exists()
        for length in (80, 81, 87, 88, 1514):
            checker = _Checker(length, family=6)
            frames = [good(sequence, length=length, family=6) for sequence in range(70)]
            assert [checker.give(data) for data in frames] == [XDP_DROP] * 70
            assert checker.faults() == {}

    @pytest.mark.parametrize(
        ("at", "kind"),
        [(0, "DESTINATION_MAC"), (11, "SOURCE_MAC"), (14, "HEADER"), (17, "HEADER"), (21, "TTL"), (22, "HEADER"),
         (53, "HEADER"), (54, "HEADER"), (61, "HEADER"), (62, "MANGLED"), (79, "MANGLED")],
    )  # fmt: skip
    def test_faults_of_ipv6_are_told_apart(self, bpf_objects: Path, at: int, kind: str) -> None:
        assert bpf_objects.exists()
        checker = _Checker(80, family=6)
        data = bytearray(good(7, length=80, family=6))
        data[at] ^= 0x20
        checker.give(bytes(data))
        assert checker.faults() == {kind: 1}

    @both_families
    def test_frames_of_an_earlier_phase_of_the_other_family_do_not_count(self, bpf_objects: Path, family: int) -> None:
        assert bpf_objects.exists()
        checker = _Checker(100, family=family)
        other = 10 - family
        old = Epoch(EPOCH.magic ^ 3, EPOCH.keys, 100, 2, family=other)
        late = frame(Ident(old.magic, 0, 1, 0, 0), old, ttl=63)
        assert checker.give(late) == XDP_DROP
        assert checker.faults() == {}

    def test_every_changed_byte_of_a_body_is_found(self, bpf_objects: Path) -> None:
        assert bpf_objects.exists()
        checker = _Checker(201)
        for sequence, byte in enumerate(range(60, 201)):
            data = bytearray(good(sequence, length=201))
            data[byte] ^= 0x01
            checker.give(bytes(data))
        assert checker.faults() == {"CORRUPT": 141}

    @pytest.mark.parametrize(
        ("at", "kind"),
        [(0, "DESTINATION_MAC"), (5, "DESTINATION_MAC"), (6, "SOURCE_MAC"), (11, "SOURCE_MAC"), (24, "CHECKSUM"),
         (15, "HEADER"), (34, "HEADER"), (42, "MANGLED"), (50, "MANGLED"), (58, "MANGLED")],
    )  # fmt: skip
    def test_faults_are_told_apart(self, checker: _Checker, at: int, kind: str) -> None:
        data = bytearray(good(7))
        data[at] ^= 0x20
        checker.give(bytes(data))
        # What changes in the IP header and is not made up for breaks the checksum as well.
        assert checker.faults() in ({kind: 1}, {kind: 1, "CHECKSUM": 1})

    def test_ttl_with_a_right_checksum(self, checker: _Checker) -> None:
        epoch = checker.epoch
        checker.give(frame(Ident(epoch.magic, 0, 1, 0, 0), epoch, ttl=62))
        assert checker.faults() == {"TTL": 1}

    def test_twice(self, checker: _Checker) -> None:
        for sequence in (0, 1, 1, 0, 2):
            checker.give(good(sequence))
        assert checker.faults() == {"DUPLICATE": 2}

    def test_meant_for_another(self, checker: _Checker) -> None:
        checker.give(good(0, destination=2))
        assert struct.unpack("<Q", checker.source.map("misdelivered").lookup((2).to_bytes(4, "little")) or b"") == (1,)
        assert checker.faults() == {}

    def test_cut_short(self, bpf_objects: Path) -> None:
        assert bpf_objects.exists()
        checker = _Checker(100)
        checker.give(good(0, length=100)[:90])
        assert checker.faults() == {"CORRUPT": 1}

    def test_what_is_not_the_tests_goes_to_the_kernel(self, checker: _Checker) -> None:
        arp = b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes(46)
        stranger = bytearray(good(0))
        stranger[26:30] = bytes([192, 0, 2, 1])
        stranger[42:46] = bytes(4)
        assert checker.give(arp) == XDP_PASS
        assert checker.give(bytes(stranger)) == XDP_PASS
        assert checker.give(bytes(20)) == XDP_PASS
        assert checker.faults() == {}

    def test_frames_of_an_earlier_phase_do_not_count(self, checker: _Checker) -> None:
        old = Epoch(EPOCH.magic ^ 3, EPOCH.keys, 60, 2)
        assert checker.give(frame(Ident(old.magic, 0, 1, 0, 0), old, ttl=63)) == XDP_DROP
        assert checker.faults() == {}

    def test_order_as_the_reference_has_it(self, bpf_objects: Path) -> None:
        assert bpf_objects.exists()
        for order in itertools.permutations(range(4)):
            checker = _Checker()
            for sequence in order:
                checker.give(good(sequence))
            found = checker.faults()
            wanted = measure(order)
            assert (found.get("LATE", 0), found.get("REORDERED", 0)) == (wanted.late, wanted.sequences), order
            assert checker.lateness() == lateness(order), order

    def test_the_lateness_of_far_jumps_is_as_the_reference_has_it(self, checker: _Checker) -> None:
        order = [*range(10, 90), 3, 4, 95, 0, 91, *range(96, 200), 90]
        for sequence in order:
            checker.give(good(sequence))
        assert checker.lateness() == lateness(order)

    def test_a_wrong_frame_is_kept_whole_with_its_time(self, bpf_objects: Path) -> None:
        assert bpf_objects.exists()
        checker = _Checker(1514)
        data = bytearray(good(0, length=1514))
        data[1513] ^= 1
        before = time.monotonic_ns()
        checker.give(bytes(data))
        checker.give(bytes(data[:-4]))
        value = checker.source.map("samples").lookup(int(FrameFault.CORRUPT).to_bytes(4, "little")) or b""
        taken, when, length = struct.unpack_from("<QQI", value)
        assert (taken, length, value[24 : 24 + length]) == (1, 1514, bytes(data))
        assert before < when < time.monotonic_ns()
