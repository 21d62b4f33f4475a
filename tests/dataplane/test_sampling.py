"""Frames of external ports, sampled for sFlow: as they came in, one in so many, and lost where nobody reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rbops.dataplane.xdp.libbpf import XDP_REDIRECT
from rbops.dataplane.xdp.sampling import XdpSampling
from tests.dataplane.frames import ethernet, ipv4
from tests.dataplane.router import Router, fib_of, route

pytestmark = pytest.mark.root

RING_HOLDS = (1 << 20) // (144 + 8)
"""Samples of 144 bytes, each behind 8 bytes of the kernel's."""


@pytest.fixture
def router(make_router: Callable[..., Router]) -> Router:
    made = make_router(routes=[route("198.18.0.9/32", 0, 1), route("198.18.1.0/24", 1, 1)])
    made.set_tick(1_000_000)
    return made


def started(router: Router, rate: int) -> XdpSampling:
    """The cores take a rate over with their next tick, before the frame that comes then."""
    sampling = router.plane.sampling()
    sampling.set_rate(rate)
    router.next_tick()
    return sampling


def frame(router: Router, length: int = 46) -> bytes:
    return ethernet(router.mac("ext0"), ipv4("198.18.1.9", payload=bytes(range(256))[: length - 20]))


def test_nothing_is_sampled_unless_asked(router: Router) -> None:
    for _ in range(50):
        router.receive("ext0", frame(router))
    assert router.plane.sampling().take() == []
    assert router.plane.counters()["sampled"] == {"ext0": {"taken": 0, "lost": 0}}
    assert router.plane.status()["sampling"] == 0


def test_a_sample_is_the_frame_as_it_came_in(router: Router) -> None:
    """Before TTL, checksum and MAC addresses are changed; its first 128 bytes."""
    sampling = started(router, 1)
    frames = [frame(router), frame(router, 200)]
    for sent in frames:
        assert router.receive("ext0", sent).verdict == XDP_REDIRECT
    found = sampling.take()
    assert [(one.port, one.size, one.rate, one.header) for one in found] == [
        ("ext0", len(sent), 1, sent[:128]) for sent in frames
    ]
    assert sampling.take() == []
    assert router.plane.counters()["sampled"] == {"ext0": {"taken": 2, "lost": 0}}


def test_what_is_dropped_and_what_goes_to_the_kernel_is_sampled_too(router: Router) -> None:
    sampling = started(router, 1)
    kinds = [
        ethernet(b"\xff" * 6, bytes(46), protocol=0x0806),
        ethernet(router.mac("ext0"), ipv4("127.0.0.1")),
        ethernet(router.mac("ext0"), ipv4("198.18.1.9", ttl=1)),
    ]
    for sent in kinds:
        router.receive("ext0", sent)
    assert [one.header for one in sampling.take()] == kinds


def test_frames_of_the_fabric_are_the_input_servers(router: Router) -> None:
    """A frame is sampled once in the cluster, where it comes in."""
    sampling = started(router, 1)
    for _ in range(5):
        router.receive("int1", ethernet(bytes.fromhex("025200000001"), ipv4("198.18.0.9")))
    assert sampling.take() == []


def test_one_in_so_many(router: Router) -> None:
    """Skips are even from 1 to 2N - 1: 4,000 frames and N = 10 are 400 samples, standard deviation 11.5."""
    sampling = started(router, 10)
    sent = frame(router)
    for _ in range(4000):
        router.receive("ext0", sent)
    found = sampling.take()
    assert 300 < len(found) < 500
    assert {one.rate for one in found} == {10}
    (port,) = sampling.ports()
    assert (port.name, port.received, port.lost) == ("ext0", 4000, 0)


def test_another_rate_holds_from_the_next_tick(router: Router) -> None:
    sampling = started(router, 1)
    router.receive("ext0", frame(router))
    sampling.set_rate(0)
    router.next_tick()
    router.receive("ext0", frame(router))
    assert len(sampling.take()) == 1
    sampling.set_rate(1)
    router.next_tick()
    router.receive("ext0", frame(router))
    assert len(sampling.take()) == 1


def test_what_nobody_reads_is_counted_as_lost(router: Router) -> None:
    sampling = started(router, 1)
    sent, more = frame(router), 100
    for _ in range(RING_HOLDS + more):
        assert router.receive("ext0", sent).verdict == XDP_REDIRECT
    (port,) = sampling.ports()
    assert more <= port.lost <= more + 2
    assert len(sampling.take()) == RING_HOLDS + more - port.lost
    router.receive("ext0", sent)
    assert len(sampling.take()) == 1


def test_samples_outlive_another_program_and_table(router: Router) -> None:
    """What is loaded anew in place has the same ring; whoever has it open goes on."""
    sampling = started(router, 1)
    router.receive("ext0", frame(router))
    router.write("fib", fib_of([route("198.18.1.0/24", 1, 1)]))
    router.reopen()
    router.plane.apply()
    router.receive("ext0", frame(router))
    assert len(sampling.take()) == 2
    assert router.plane.counters()["sampled"]["ext0"]["taken"] == 2
