"""The phase of tunnels against a router in Python that encrypts and decrypts, and does not always do it right."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.plan import ClusterPlan
from rbops.report.selftest import selftest_blocks, selftest_junit
from rbops.report.tables import plain
from rbops.selftest.esp import Association
from rbops.selftest.phases import quick, tunnels, usual
from rbops.selftest.result import SelftestResult
from rbops.selftest.session import Session
from rbops.selftest.tunnelled import esp_frame
from tests.fullkernel.tunnel_lab import plan
from tests.support.esp import GCM, OTHER, key_file

ROUTER = {0: "02:52:00:00:00:01", 1: "02:52:00:01:00:01"}
NEAR = {0: "02:4e:00:00:00:02", 1: "02:4e:00:01:00:02"}
OUT, IN = (bytes.fromhex(word) for word in GCM)
PEER, OWN = "198.18.1.2", "198.18.1.1"

Arrivals = list[tuple[int, bytes]]
Mischief = Callable[[int, int, bytes], Arrivals]
"""Of the n-th packet, which leaves by that port as this frame."""


def salted(server: int) -> tuple[bytes, ...]:
    return (OUT[:-1] + bytes((OUT[-1] ^ server,)),)


class Router:
    """Both servers, and the testers' agents. The window is as the kernel's: a number counts once."""

    def __init__(self, mischief: Mischief | None = None, out: bytes = OUT) -> None:
        self.mischief, self.out, self.seen, self.passed = mischief, out, 4, 0
        self.listening = False
        self.heard: dict[int, list[bytes]] = {0: [], 1: []}

    def counters(self) -> dict[str, dict[str, object]]:
        inward = {"packets": 1, "sequence": self.seen}
        outward = {"packets": 1, "sequence": 0}
        return {
            "n0": {"tunnels": [{"tunnel": 7, "out": outward}]},
            "n1": {"tunnels": [{"tunnel": 7, "out": outward, "in": inward}]},
        }

    def call(self, operation: str, **_: Any) -> list[dict[str, Any]]:
        if operation == "frames_in":
            found = [{"frames": [frame.hex() for frame in self.heard[port]]} for port in (0, 1)]
            self.heard = {0: [], 1: []}
            return found
        self.listening = operation == "listen"
        return [{}, {}]

    def each(self, operation: str, asked: Sequence[dict[str, Any] | None], *, timeout_s: float) -> list[dict[str, Any]]:
        assert (operation, self.listening) == ("frames_out", True)
        assert timeout_s > 0
        for port, given in enumerate(asked):
            for frame in (given or {"frames": []})["frames"]:
                for where, left in self.forwarded(port, bytes.fromhex(frame)):
                    arrivals = [(where, left)] if self.mischief is None else self.mischief(self.passed, where, left)
                    self.passed += 1
                    for at, each in arrivals:
                        self.heard[at].append(each)
        return [{} for given in asked if given]

    def forwarded(self, port: int, frame: bytes) -> Arrivals:
        if frame[23] == 50:
            (sequence,) = struct.unpack_from("!I", frame, 38)
            if sequence <= self.seen:
                return []
            self.seen = sequence
            packet = Association(0x70000, (IN,)).open(frame[34:])
            where = packet[18]
            return [(where, macs(NEAR[where], ROUTER[where]) + b"\x08\x00" + less(packet))]
        keys = (self.out[:-1] + bytes((self.out[-1] ^ port,)),)
        sealed = Association(0x70000 | port << 8, keys).seal(less(frame[14:]), 1)
        return [(1, esp_frame(NEAR[1], ROUTER[1], (OWN, PEER), sealed))]


def macs(to: str, own: str) -> bytes:
    return bytes.fromhex((to + own).replace(":", ""))


def less(packet: bytes) -> bytes:
    """With a TTL less by one, and a header checksum that says so (RFC 1624)."""
    (total,) = struct.unpack_from("!H", packet, 10)
    total += 0x100
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:8] + bytes((packet[8] - 1, packet[9])) + struct.pack("!H", total) + packet[12:]


@pytest.fixture
def made(tmp_path: Path) -> ClusterPlan:
    (tmp_path / "peer.keys").touch(0o600)
    (tmp_path / "peer.keys").write_text(key_file(GCM))
    return plan(tmp_path / "peer.keys")


def run(made: ClusterPlan, router: Router, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(tunnels.time, "sleep", lambda _: None)  # type: ignore[attr-defined]
    testers = [
        SimpleNamespace(
            index=port,
            mac=NEAR[port],
            router_mac=ROUTER[port],
            at=SimpleNamespace(server=f"n{port}", port=port, address=f"198.18.{port}.2"),
        )
        for port in (0, 1)
    ]
    bench: Any = SimpleNamespace(family=4, testers=testers, agents=router)
    session = Session(made, bench, SimpleNamespace(seed=1), router.counters, lambda _: None)  # type: ignore[arg-type]
    tunnels.run(session, 0)
    assert not router.listening
    return session


def test_every_packet_of_every_port_goes_both_ways(made: ClusterPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    for _ in range(2):  # the second time with higher sequence numbers
        session = run(made, router, monkeypatch)
        assert [fault.text for fault in session.faults] == []
        rows = [(each.way, each.server, each.port, each.received, each.lost) for each in session.tunnel_runs]
        assert rows == [
            ("out", "n0", 0, tunnels.PACKETS, 0),
            ("out", "n1", 1, tunnels.PACKETS, 0),
            ("in", "n0", 0, tunnels.PACKETS, 0),
            ("in", "n1", 1, tunnels.PACKETS, 0),
        ]
    assert router.passed == 8 * tunnels.PACKETS


def clear(frame: bytes) -> bytes:
    """What a server that does not encrypt lets out."""
    for server in (0, 1):
        if frame[34:38].hex() == f"00070{server}00":
            return frame[:14] + Association(0x70000 | server << 8, salted(server)).open(frame[34:])
    return frame


@pytest.mark.parametrize(
    ("mischief", "kinds", "said"),
    [
        (
            lambda n, port, frame: [] if n == 3 else [(port, frame)],
            {"loss"},
            "1 of 24 packets from port 0 (n0) were lost",
        ),
        (
            lambda n, port, frame: [(port, frame)] * (2 if n == 50 else 1),
            {"duplicate"},
            "1 of 24 packets",
        ),
        (lambda n, port, frame: [(1 - port if n == 30 else port, frame)], {"misdelivered"}, "left by another port"),
        (
            lambda n, port, frame: [(port, frame if n != 30 else frame[:60] + bytes((frame[60] ^ 1,)) + frame[61:])],
            {"corrupt", "loss"},
            "could not be opened",
        ),
        (
            lambda _, port, frame: [(port, frame[:-1] + bytes((frame[-1] ^ 1,)) if frame[23] == 17 else frame)],
            {"corrupt"},
            "24 of 24 packets to port 1 arrived otherwise than expected",
        ),
        (lambda _, port, frame: [(port, frame[:5] + b"\x09" + frame[6:])], {"corrupt"}, "its MAC addresses are"),
        (lambda _, port, frame: [(port, clear(frame))], {"in the clear", "loss"}, "left in the clear"),
    ],
)
def test_what_goes_wrong_is_named(
    made: ClusterPlan, monkeypatch: pytest.MonkeyPatch, mischief: Mischief, kinds: set[str], said: str
) -> None:
    session = run(made, Router(mischief), monkeypatch)
    assert {fault.kind for fault in session.faults} == kinds
    assert any(said in fault.text for fault in session.faults), [fault.text for fault in session.faults]
    result = SelftestResult(
        "rb2", "d", 1, ((0, "n0"), (1, "n1")), (), None, tuple(session.faults), 1.0,
        tunnel_runs=tuple(session.tunnel_runs),
    )  # fmt: skip
    assert not result.passed
    assert said in plain(selftest_blocks(result))
    cases = [case for case in selftest_junit(result).cases if case.group == "selftest.tunnels"]
    assert len(cases) == 4
    assert any(case.failures for case in cases) == any("tunnel 7 to" in fault.text for fault in session.faults)


def test_other_keys_than_the_servers_are_a_fault(made: ClusterPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    session = run(made, Router(out=bytes.fromhex(OTHER[0])), monkeypatch)
    assert {fault.kind for fault in session.faults} == {"loss", "corrupt"}
    assert any("could not be opened with their keys" in fault.text for fault in session.faults)


def test_without_counters_nothing_is_sent_as_the_peer(made: ClusterPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sequence number is next nobody else knows."""
    router = Router()
    monkeypatch.setattr(router, "counters", dict)
    session = run(made, router, monkeypatch)
    assert {each.way for each in session.tunnel_runs} == {"out"}
    assert any("which sequence number is next" in note for note in session.notes)
    assert session.faults == []


def test_it_runs_always_and_does_nothing_without_tunnels(made: ClusterPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tunnels.NAME in usual()
    assert tunnels.NAME in quick()
    without = replace(made, forwarding=replace(made.forwarding, tunnels=()))
    session = run(without, Router(), monkeypatch)
    assert (session.tunnel_runs, session.faults, session.notes) == ([], [], [])
