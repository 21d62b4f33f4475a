"""Real packets through a real (small) router, healthy and broken on purpose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from rbops.dataplane.xdp.libbpf import xdp_attached
from rbops.errors import Mismatch
from rbops.selftest.device import statistics, transmitted
from rbops.selftest.options import SelftestOptions
from rbops.selftest.result import SelftestResult
from rbops.selftest.run import run_selftest
from tests.support.errors import raises

from .conftest import FakeTester, ReferenceRouter, first_behind_a_bridge, inside, ip, make_plan

pytestmark = pytest.mark.root

MATRIX = SelftestOptions(duration_s=1.5, phases=("matrix",))


def run(router: ReferenceRouter, options: SelftestOptions = MATRIX) -> SelftestResult:
    return router.steadily(lambda: run_selftest(router.plan, router.testers, router.mark, options))


def texts(result: SelftestResult) -> str:
    return "\n".join(fault.text for fault in result.faults)


def test_a_healthy_router_passes_all_packets_without_a_fault(router: ReferenceRouter) -> None:
    result = run(router, SelftestOptions(duration_s=4.0))
    assert result.faults == ()
    assert result.passed
    matrix, pair = result.phases
    assert matrix.received == matrix.sent > 100_000
    assert {(p.source, p.destination) for p in matrix.pairs} == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert all(p.sent == p.received > 0 and p.lost == p.duplicates == p.late == 0 for p in matrix.pairs)
    assert pair.size == 1518
    assert pair.received == pair.sent > 10_000
    assert result.rate is not None
    assert result.rate.rate_pps > 10_000
    assert result.rate.trials[-1].passed


def test_an_exact_number_of_packets(router: ReferenceRouter) -> None:
    result = run(router, SelftestOptions(duration_s=1, packets=12_345, size=200, phases=("matrix",)))
    assert result.passed, texts(result)
    assert [pair.sent for pair in result.phases[0].pairs] == [12_345] * 6
    assert [pair.received for pair in result.phases[0].pairs] == [12_345] * 6


@pytest.mark.parametrize("size", [64, 65, 68, 71, 72, 73, 512, 1518])
def test_every_size_arrives_whole(router: ReferenceRouter, size: int) -> None:
    result = run(router, SelftestOptions(duration_s=1, packets=2_000, size=size, phases=("matrix",)))
    assert result.passed, texts(result)


@pytest.mark.parametrize("every", [100_000, 1_000_000])
def test_loss_is_found_and_counted_exactly(router: ReferenceRouter, every: int) -> None:
    router.break_with("drop", every)
    result = run(router, SelftestOptions(duration_s=1, packets=700_000, phases=("matrix",)))
    assert not result.passed
    assert {fault.kind for fault in result.faults} == {"loss"}
    # Two cores that count at once may miss one.
    assert 0 < router.injected <= 6 * 700_000 // every
    assert sum(fault.packets for fault in result.faults) == result.phases[0].lost == router.injected
    assert all(fault.text.startswith(f"loss {fault.packets} of 700,000 from port") for fault in result.faults)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("duplicate", "duplicate", "arrived more than once"),
        ("mangle", "corrupt", "does not identify the packet any more"),
        ("misdeliver", "misdelivered", "came out of port"),
        ("ttl", "TTL", "TTL: "),
        ("checksum", "checksum", "IPv4 header checksum wrong"),
        ("mac", "next-hop MAC", "instead of 02:4e:00:"),
        ("header", "header", "a header field that no router changes"),
    ],
)
def test_one_wrong_packet_in_a_million_is_named(router: ReferenceRouter, fault: str, kind: str, words: str) -> None:
    router.break_with(fault, 1_000_000)
    started = time.time_ns()
    result = run(router, SelftestOptions(duration_s=1, packets=180_000, phases=("matrix",)))
    assert not result.passed
    assert router.injected == 1
    assert [fault.kind for fault in result.faults] == [kind], texts(result)
    (found,) = result.faults
    assert found.packets == 1
    assert words in found.text
    (example,) = result.examples
    assert (example.phase, example.kind, len(example.frame)) == ("matrix", kind, 60)
    assert started < example.time_ns < time.time_ns()


def test_a_corrupt_byte_deep_in_the_payload(router: ReferenceRouter) -> None:
    router.break_with("corrupt", 50_000)
    result = run(router, SelftestOptions(duration_s=1, packets=50_000, size=512, phases=("matrix",)))
    assert {fault.kind for fault in result.faults} == {"corrupt"}
    assert sum(fault.packets for fault in result.faults) == router.injected == 6
    assert result.phases[0].lost == 0


def test_late_packets_are_found_and_each_counted_as_one_sequence(router: ReferenceRouter) -> None:
    router.break_with("reorder", 100_001)
    result = run(router, SelftestOptions(duration_s=1, packets=400_000, flows=4, phases=("matrix",)))
    phase = result.phases[0]
    assert phase.lost == 0
    assert {fault.kind for fault in result.faults} == {"late"}
    # Each of them is overtaken by a few of its flow, unless it was among the last of a batch.
    assert router.injected - 5 <= phase.reordering.sequences == phase.reordering.late <= router.injected
    assert router.injected in (23, 24)  # every 100,001st of 2.4 million, whatever went before
    assert "reordered sequences" in texts(result)
    assert phase.lateness.packets == phase.reordering.late
    assert 1 <= phase.lateness.mean_extent <= phase.lateness.most
    assert phase.lateness.reordered(1) == phase.reordering.late  # none of them came right after another late one


def test_a_wrong_route_is_named_with_both_ports(router: ReferenceRouter) -> None:
    router.break_with("misdeliver", 1, wrong_port=1)
    result = run(router, SelftestOptions(duration_s=1, packets=5_000, phases=("matrix",)))
    assert "for port 2 came out of port 1; n0 chose the port" in texts(result)


def test_nothing_arrives(router: ReferenceRouter) -> None:
    router.break_with("drop", 1)
    result = run(router, SelftestOptions(duration_s=1, packets=1_000, phases=("matrix",)))
    assert not result.passed
    assert result.checked == 0
    assert {fault.kind for fault in result.faults} == {"nothing arrived"}


def test_frames_that_the_testers_device_refuses_are_no_loss_of_the_router(router: ReferenceRouter) -> None:
    namespace = f"{router.prefix}r"
    subprocess.run(["ip", "-n", namespace, "link", "set", "ext1", "down"], check=True)
    try:
        result = run(router, SelftestOptions(duration_s=1, packets=1_000, phases=("matrix",)))
    finally:
        subprocess.run(["ip", "-n", namespace, "link", "set", "ext1", "up"], check=True)
    unsent = [fault for fault in result.faults if fault.kind == "unsent"]
    assert [(fault.source, fault.packets, fault.server) for fault in unsent] == [(1, 2_000, "n1")]
    assert result.phases[0].unsent == 2_000
    assert any("n1 does not answer ARP for 198.18.1.1" in fault.text for fault in result.faults)


def test_nothing_stays_attached(router: ReferenceRouter) -> None:
    run(router, SelftestOptions(duration_s=1, packets=100, phases=("matrix",)))
    for tester in router.testers:
        with inside(tester.netns or ""):
            assert xdp_attached(socket.if_nametoindex(tester.device)) == (0, "none")


def test_a_driver_without_xdp(router: ReferenceRouter) -> None:
    """A bridge has none: its tester checks every packet all the same, and the result says why it is slow."""
    with first_behind_a_bridge(router) as testers:
        options = SelftestOptions(duration_s=2, packets=3000, size=128, phases=("matrix",))
        result = run_selftest(router.plan, testers, router.mark, options)
        assert result.passed, texts(result)
        assert [(pair.sent, pair.received) for pair in result.phases[0].pairs] == [(3000, 3000)] * 6
        assert any("port 0 has no XDP" in note for note in result.notes)
        router.break_with("drop", 1000)
        broken = run_selftest(router.plan, testers, router.mark, options)
        assert sum(pair.lost for pair in broken.phases[0].pairs) == router.injected > 0


def test_the_agents_die_with_their_parent(router: ReferenceRouter) -> None:
    code = (
        "import sys, time\n"
        "from rbops.selftest.local import local_tester\nfrom rbops.selftest.tester import Agents\n"
        "agent = local_tester(0, 'ext0', sys.argv[1], lifetime_s=60)\n"
        "agent.start(); agent.call('attach', testers=2, flows=4, words=1024)\n"
        "print(agent._line._process.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, f"{router.prefix}t0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with inside(f"{router.prefix}t0"):
            assert xdp_attached(socket.if_nametoindex("ext0"))[1] == "native"
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and time.monotonic() < end:  # noqa: PTH110
        time.sleep(0.02)
    with inside(f"{router.prefix}t0"):
        assert xdp_attached(socket.if_nametoindex("ext0")) == (0, "none")


def test_the_devices_own_count_is_exact(router: ReferenceRouter) -> None:
    with inside(f"{router.prefix}t0"):
        before = transmitted("ext0")
        assert any(key.endswith("_xdp_xmit") for key in statistics("ext0"))
    run(router, SelftestOptions(duration_s=1, packets=3_000, phases=("matrix",)))
    with inside(f"{router.prefix}t0"):
        assert transmitted("ext0") - before == 6_000


def test_only_between_some_ports(router: ReferenceRouter) -> None:
    """The others need no tester."""
    router = replace(router, testers=[router.testers[0], router.testers[2]])
    result = run(router, SelftestOptions(duration_s=1, packets=3_000, phases=("matrix",), ports=(2, 0)))
    assert result.passed, texts(result)
    assert {(pair.source, pair.destination) for pair in result.phases[0].pairs} == {(0, 2), (2, 0)}


def test_a_tester_with_several_ports(router: ReferenceRouter) -> None:
    """Two of the devices are on one machine, as far as a namespace is one."""
    first, second, third = router.testers
    netns = f"{router.prefix}t0"
    try:
        ip("-n", f"{router.prefix}t1", "link", "set", "ext1", "netns", netns)
        ip("-n", netns, "link", "set", "ext1", "up")
        both = replace(router, testers=[first, replace(second, netns=netns), third])
        result = run(both, SelftestOptions(duration_s=1, packets=3_000, phases=("matrix",)))
        assert result.passed, texts(result)
        assert [pair.received for pair in result.phases[0].pairs] == [3_000] * 6
    finally:
        ip("-n", netns, "link", "set", "ext1", "netns", f"{router.prefix}t1")
        ip("-n", f"{router.prefix}t1", "link", "set", "ext1", "up")
        ip("-n", f"{router.prefix}t1", "addr", "add", "198.18.1.2/24", "dev", "ext1")


def test_a_missing_namespace_is_a_mismatch(router: ReferenceRouter) -> None:
    testers = [*router.testers[:2], FakeTester(2, "rbs-not-there", "ext2")]
    with raises(Mismatch, "tester.no-namespace"):
        run_selftest(router.plan, testers, None, MATRIX)


def test_a_port_without_a_tester_is_a_mismatch(router: ReferenceRouter) -> None:
    with raises(Mismatch, "selftest.no-tester"):
        run_selftest(make_plan(4), router.testers, None, MATRIX)
