"""Packets of IPv6 through the reference router, healthy and broken on purpose, beside those of IPv4."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from rbops.errors import UsageError
from rbops.plan import Adjacency, ClusterPlan, Route
from rbops.report.selftest import selftest_blocks, selftest_junit
from rbops.selftest.options import SelftestOptions
from rbops.selftest.ports import ports_under_test6
from rbops.selftest.result import SelftestResult
from rbops.selftest.run import run_selftest
from rbops.selftest.setup import ports_with_testers6
from tests.support.errors import raises

from .conftest import FakeTester, ReferenceRouter, first_behind_a_bridge, make_plan, with_ipv6

MATRIX = SelftestOptions(duration_s=1, packets=3_000, phases=("matrix",))
ALL = {(a, b) for a in range(3) for b in range(3) if a != b}


def run(router: ReferenceRouter, options: SelftestOptions = MATRIX, plan: ClusterPlan | None = None) -> SelftestResult:
    whole = plan or with_ipv6(router.plan)
    return router.steadily(lambda: run_selftest(whole, router.testers, router.mark, options))


def texts(result: SelftestResult) -> str:
    return "\n".join(fault.text for fault in result.faults)


def without_mac(plan: ClusterPlan, *numbers: int) -> ClusterPlan:
    """The IPv6 neighbours of these ports have no MAC in the spec."""
    assert plan.ipv6 is not None
    ports = tuple(
        dataclasses.replace(port, adjacencies=(Adjacency(2, port.adjacencies[0].address, None),))
        if port.port in numbers
        else port
        for port in plan.ipv6.ports
    )
    return dataclasses.replace(plan, ipv6=dataclasses.replace(plan.ipv6, ports=ports))


def test_what_is_sent_to_behind_each_port() -> None:
    plan = with_ipv6(make_plan(3), Route("2001:db8:f::/48", 2, 2, "2001:db8:0:2::2"))
    found = ports_under_test6(plan, seed=1)
    assert [(port.port, port.family, port.router_address, port.address) for port in found] == [
        (number, 6, f"2001:db8:0:{number}::1", f"2001:db8:0:{number}::2") for number in range(3)
    ]
    near, behind = found[2].targets
    assert near.address == "2001:db8:0:2::2"
    assert behind.address.startswith("2001:db8:f:")
    assert ports_under_test6(make_plan(3), seed=1) == ()


def test_ports_whose_neighbour_has_no_mac_are_left_out_and_named() -> None:
    testers = [FakeTester(number, None, "x") for number in range(3)]
    found, note = ports_with_testers6(without_mac(with_ipv6(make_plan(3)), 1), testers, MATRIX)
    assert [port.port for port, _ in found] == [0, 2]
    assert note == "IPv6 is not tested on port 1: no neighbour with a MAC in the spec"
    found, note = ports_with_testers6(without_mac(with_ipv6(make_plan(3)), 1, 2), testers, MATRIX)
    assert found == ()
    assert "no two of the ports" in str(note)
    assert ports_with_testers6(make_plan(3), testers, MATRIX) == ((), None)


def test_a_family_that_the_spec_lacks_is_refused() -> None:
    options = dataclasses.replace(MATRIX, family=6)
    testers = [FakeTester(number, None, "x") for number in range(3)]
    with raises(UsageError, "selftest.family"):
        run_selftest(make_plan(3), testers, None, options)
    with raises(UsageError, "selftest.family"):
        run_selftest(without_mac(with_ipv6(make_plan(3)), 1, 2), testers, None, options)


@pytest.mark.root
class TestRouter:
    def test_a_healthy_router_passes_all_phases_of_both(self, router: ReferenceRouter) -> None:
        result = run(router, SelftestOptions(duration_s=3.0))
        assert result.passed, texts(result)
        phases = {phase.name: phase for phase in result.phases}
        assert list(phases) == ["matrix", "pair", "matrix IPv6", "pair IPv6"]
        assert [phase.family for phase in result.phases] == [4, 4, 6, 6]
        assert [phase.size for phase in result.phases] == [64, 1518, 84, 1518]
        for phase in phases.values():
            assert phase.received == phase.sent > 10_000
        assert {(p.source, p.destination) for p in phases["matrix IPv6"].pairs} == ALL
        assert result.rate is not None
        assert result.rate6 is not None
        assert result.rate6.rate_pps > 100_000
        found = result.to_dict()
        assert (found["rate"]["size"], found["rate_ipv6"]["size"]) == (64, 84)
        assert [phase["family"] for phase in found["phases"]] == [4, 4, 6, 6]
        groups = {case.group for case in selftest_junit(result).cases}
        assert {"selftest.matrix", "selftest.matrix IPv6", "selftest.pair IPv6"} < groups
        assert any("highest rate of IPv6 without loss" in str(block) for block in selftest_blocks(result))

    @pytest.mark.parametrize(("family", "names"), [(4, ["matrix"]), (6, ["matrix IPv6"])])
    def test_one_family_alone(self, router: ReferenceRouter, family: int, names: list[str]) -> None:
        result = run(router, dataclasses.replace(MATRIX, family=family))
        assert result.passed, texts(result)
        assert [phase.name for phase in result.phases] == names
        assert [(pair.sent, pair.received) for pair in result.phases[0].pairs] == [(3_000, 3_000)] * 6

    @pytest.mark.parametrize("size", [84, 85, 91, 512, 1518])
    def test_frames_of_every_size(self, router: ReferenceRouter, size: int) -> None:
        result = run(router, dataclasses.replace(MATRIX, family=6, size=size, packets=500))
        assert result.passed, texts(result)
        assert result.phases[0].size == size

    @pytest.mark.parametrize(
        ("fault", "kind", "words"),
        [
            ("drop", "loss", "loss 1 of 60,000"),
            ("duplicate", "duplicate", "arrived more than once"),
            ("mangle", "corrupt", "does not identify the packet any more"),
            ("corrupt", "corrupt", "payload or length changed"),
            ("misdeliver", "misdelivered", "came out of port"),
            ("ttl", "TTL", "TTL: "),
            ("mac", "next-hop MAC", "instead of 02:4e:00:"),
            ("header", "header", "a header field that no router changes"),
        ],
    )
    def test_one_wrong_packet_is_named(self, router: ReferenceRouter, fault: str, kind: str, words: str) -> None:
        router.break_with(fault, 350_000)
        options = SelftestOptions(duration_s=1, packets=60_000, size=128, phases=("matrix",), family=6)
        result = run(router, options)
        assert not result.passed
        assert router.injected == 1
        assert [fault.kind for fault in result.faults] == [kind], texts(result)
        (found,) = result.faults
        assert (found.packets, found.phase) == (1, "matrix IPv6")
        assert words in found.text

    def test_a_router_that_loses_ipv6_alone(self, router: ReferenceRouter) -> None:
        """The two halves of the counter: of 36,000 packets only those after the first 18,000 are of IPv6."""
        router.break_with("drop", 20_000)
        result = run(router)
        assert [(fault.kind, fault.phase) for fault in result.faults] == [("loss", "matrix IPv6")]
        assert [phase.lost for phase in result.phases] == [0, 1]

    def test_ports_without_ipv6_keep_the_others(self, router: ReferenceRouter) -> None:
        result = run(router, plan=without_mac(with_ipv6(router.plan), 1))
        assert result.passed, texts(result)
        four, six = result.phases
        assert {(pair.source, pair.destination) for pair in four.pairs} == ALL
        assert [(pair.source, pair.destination, pair.received) for pair in six.pairs] == [(0, 2, 3_000), (2, 0, 3_000)]
        assert "IPv6 is not tested on port 1: no neighbour with a MAC in the spec" in result.notes

    def test_a_port_that_does_not_answer_neighbour_discovery(self, router: ReferenceRouter) -> None:
        change = ["ip", "-n", f"{router.prefix}r", "-6", "address"]
        address = ["2001:db8:0:1::1/64", "dev", "ext1"]
        subprocess.run([*change, "del", *address], check=True)
        try:
            result = run(router)
        finally:
            subprocess.run([*change, "add", *address, "nodad"], check=True)
        assert "n1 does not answer neighbour discovery for 2001:db8:0:1::1 on port 1: is n1 up?" in texts(result)

    def test_a_driver_without_xdp(self, router: ReferenceRouter) -> None:
        """A bridge has none: the tester's packets go through a packet socket."""
        with first_behind_a_bridge(router) as testers:
            options = dataclasses.replace(MATRIX, family=6, size=128, duration_s=2)
            result = run_selftest(with_ipv6(router.plan), testers, router.mark, options)
            assert result.passed, texts(result)
            assert [(pair.sent, pair.received) for pair in result.phases[0].pairs] == [(3000, 3000)] * 6
            router.break_with("drop", 1000)
            broken = run_selftest(with_ipv6(router.plan), testers, router.mark, options)
            assert sum(pair.lost for pair in broken.phases[0].pairs) == router.injected > 0
