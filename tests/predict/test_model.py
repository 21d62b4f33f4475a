"""The bottleneck, batching, cluster and latency models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops import hardware
from rbops.hardware.costs import fit_batching, paper_batching
from rbops.predict.bottleneck import server_rate
from rbops.predict.cluster import Setting, bounds, cluster_rate
from rbops.predict.latency import cluster_latency, server_latency_s
from rbops.predict.packets import mix

NEHALEM = hardware.profile("nehalem")
R = 10_000_000_000
RATE: dict[str, Any] = {"poll": 32, "nic": 16, "cores": 8, "nic_bps": 24_600_000_000}


def test_the_smallest_bound_is_the_bottleneck() -> None:
    small = server_rate(NEHALEM, "route", mix(64), **RATE)
    assert (small.bottleneck, small.rate_bps) == ("cpu", small.per_component.cpu)
    large = server_rate(NEHALEM, "route", mix(1518), **RATE)
    assert (large.bottleneck, large.rate_bps) == ("nic", 24_600_000_000)


def test_a_given_processing_rate_replaces_the_cpu() -> None:
    assert server_rate(hardware.profile("faster"), "route", mix(64), **RATE | {"nic_bps": None}).rate_bps == 6 * R


def test_one_socket_has_no_link_between_sockets() -> None:
    assert server_rate(hardware.profile("epyc-9354p-100g"), "route", mix(64), **RATE).per_component.inter_socket is None


@given(st.integers(1, 256), st.integers(1, 256))
def test_more_batching_never_costs_more(kp: int, kn: int) -> None:
    cost = paper_batching()
    assert cost.cycles(kp + 1, kn) < cost.cycles(kp, kn)
    assert cost.cycles(kp, kn + 1) < cost.cycles(kp, kn)


@given(st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1, 1e4), st.integers(2, 64), st.integers(2, 64))
def test_the_fit_goes_through_its_points(a: float, b: float, d: float, kp: int, kn: int) -> None:
    made = fit_batching(a + b + d, a + b / kp + d, a + b / kp + d / kn, kp, kn)
    assert (made.base, made.per_poll, made.per_transaction) == pytest.approx((a, b, d), rel=1e-6, abs=1e-6)


def test_a_fit_needs_batches() -> None:
    with pytest.raises(ValueError, match="must exceed 1"):
        fit_batching(3, 2, 1, 1, 16)


@given(st.integers(64, 1517))
def test_larger_packets_never_lower_the_rate(size: int) -> None:
    one, two = (server_rate(NEHALEM, "forward", mix(size + more), **RATE | {"nic_bps": None}) for more in (0, 1))
    assert two.rate_bps >= one.rate_bps
    assert two.rate_pps <= one.rate_pps


@given(
    servers=st.integers(3, 64),
    worst=st.booleans(),
    direct=st.booleans(),
    packets=st.sampled_from((64, 256, 1024, "imix", "abilene")),
)
def test_the_router_stays_between_2r_and_3r(*, servers: int, worst: bool, direct: bool, packets: int | str) -> None:
    """With one cost for every hop a server that processes P carries between P/3 and P/2 of external traffic."""
    one = server_rate(NEHALEM, "forward", mix(packets), **RATE)
    setting = Setting(servers, R, servers, 1, R, R // servers, worst_case=worst, direct=direct)
    made = cluster_rate(setting, one, one)
    each = made.rate_bps / servers
    assert min(one.rate_bps / 3, R) * 0.999 <= each <= min(one.rate_bps / 2, R) * 1.001
    assert 0 <= made.indirect < 1


def test_rb4_bounds_follow_the_paper() -> None:
    setting = Setting(4, R, 4, 1, R, R // 4, worst_case=True, direct=True)
    route, forward = (server_rate(NEHALEM, app, mix(64), **RATE) for app in ("route", "forward"))
    span = bounds(setting, route, forward)
    assert (span.low_bps, span.high_bps, span.low_factor) == (12_700_000_000, 19_400_000_000, 2)
    assert cluster_rate(setting, route, forward).bottleneck == "cpu"


def test_one_server_forwards_each_packet_once() -> None:
    one = server_rate(NEHALEM, "route", mix(64), **RATE)
    alone = Setting(1, R, 1, 1, 0, R, worst_case=True, direct=True)
    assert cluster_rate(alone, one, one).rate_bps == one.rate_bps


def test_the_timeout_ends_the_wait_for_a_batch() -> None:
    full = server_latency_s(NEHALEM, "route", 16, 1.0)
    assert full == pytest.approx(4 * 2.56e-6 + 16 * 0.8e-6 + 0.8e-6)
    assert server_latency_s(NEHALEM, "route", 16, 1e-6) == pytest.approx(4 * 2.56e-6 + 1e-6 + 0.8e-6)


def test_latency_counts_the_servers_on_the_way() -> None:
    two_stages = cluster_latency(1e-6, 2)
    assert (two_stages.direct, two_stages.indirect) == pytest.approx((4e-6, 7e-6))


def test_a_component_without_a_bound_is_never_the_bottleneck() -> None:
    bare = replace(NEHALEM, components=replace(NEHALEM.components, memory=None, io=None))
    rate = server_rate(bare, "forward", mix(64), **RATE)
    assert rate.per_component.memory is None
    assert rate.bottleneck == "cpu"
