from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.topology.wiring import fly_cables, fly_fanouts, imbalance
from rbops.vlb import matrix as matrices
from rbops.vlb.fairness import jain, max_min
from rbops.vlb.fluid import leg_loads, link_loads, processing, shares
from rbops.vlb.matrix import Floats
from rbops.vlb.network import fly, mesh


@st.composite
def admissible(draw: st.DrawFn) -> Floats:
    """A matrix between servers whose rows and columns are at most 1: a mix of permutations, and extremes of it."""
    servers = draw(st.integers(2, 9))
    weights = draw(st.lists(st.floats(0, 1), min_size=1, max_size=6))
    total = max(1.0, sum(weights))
    traffic = np.zeros((servers, servers))
    for weight in weights:
        order = draw(st.permutations(range(servers)))
        traffic[np.arange(servers), order] += weight / total
    np.fill_diagonal(traffic, 0)
    return traffic


@settings(max_examples=200, deadline=None)
@given(admissible())
def test_vlb_links_carry_at_most_the_required_rate(traffic: Floats) -> None:
    """2R/M on every link for any admissible matrix (paper 3.2)."""
    servers = len(traffic)
    required = 2 / servers
    assert leg_loads(traffic, "vlb", 0).max() <= required + 1e-9


@settings(max_examples=200, deadline=None)
@given(admissible())
def test_direct_vlb_links_carry_at_most_one_and_a_half_times_that(traffic: Floats) -> None:
    servers = len(traffic)
    bound = {2: 1.0, 3: 4 / 3}.get(servers, 3 / servers)
    assert leg_loads(traffic, "direct-vlb", 1 / servers).max() <= bound + 1e-9


@settings(max_examples=200, deadline=None)
@given(admissible(), st.sampled_from(["vlb", "direct-vlb"]))
def test_processing_is_between_2r_and_3r_and_nothing_is_lost(traffic: Floats, routing: str) -> None:
    servers = len(traffic)
    loads = leg_loads(traffic, routing, 1 / servers)  # type: ignore[arg-type]
    network = mesh(servers, line_rate_bps=1)
    links = link_loads(network, loads)
    work = processing(network, traffic, links)
    entered, leaves = traffic.sum(), loads.sum()
    assert entered - 1e-9 <= leaves <= 2 * entered + 1e-9  # one hop or two
    assert np.all(work <= 3 + 1e-9)
    assert np.all(work >= traffic.sum(axis=1) + traffic.sum(axis=0) - 1e-9)
    # What a server receives beyond its own input and output it passes on.
    received, sent = loads.sum(axis=0), loads.sum(axis=1)
    assert received - traffic.sum(axis=0) == pytest.approx(sent - traffic.sum(axis=1))


@given(st.integers(2, 4096), st.sampled_from(["vlb", "direct-vlb"]), st.floats(0, 1))
def test_quotas_sum_to_one(servers: int, routing: str, traffic: float) -> None:
    direct, each = shares(servers, routing, traffic, 1 / servers)  # type: ignore[arg-type]
    assert direct + each * (servers - 2) == pytest.approx(1)
    assert each >= 0
    if routing == "direct-vlb" and servers > 2:
        assert direct * traffic <= 1 / servers + 1e-12


@pytest.mark.parametrize("servers", [4, 5, 8, 16])
def test_adversarial_reaches_the_bound(servers: int) -> None:
    owners = np.arange(servers)
    traffic = matrices.make("adversarial", owners, 1)
    assert traffic.sum(axis=0) == pytest.approx(1)
    assert leg_loads(traffic, "direct-vlb", 1 / servers).max() == pytest.approx(3 / servers)
    assert leg_loads(traffic, "vlb", 0).max() <= 2 / servers + 1e-9


@pytest.mark.parametrize(("servers", "degree"), [(8, 4), (16, 5), (27, 6), (40, 10), (64, 8)])
def test_fly_routes_are_the_wirings(servers: int, degree: int) -> None:
    """Every route leads over existing cables from its first to its last server, and loads stay near the even share."""
    fanouts = fly_fanouts(servers, degree)
    assert fanouts is not None
    network = fly(servers, fanouts, line_rate_bps=1, link_bps=1)
    cables = sorted((cable.a, cable.b) for cable in fly_cables(servers, fanouts))
    half = len(network.ends) // 2
    assert sorted(map(tuple, network.ends[:half].tolist())) == cables
    for a in range(servers):
        for b in range(servers):
            route = network.routes[a * servers + b]
            if a == b:
                assert (route == -1).all()
                continue
            stations = network.ends[route]
            assert stations[0, 0] == a
            assert stations[-1, 1] == b
            assert (stations[1:, 0] == stations[:-1, 1]).all()
    even = np.full((servers, servers), 2 / servers)
    np.fill_diagonal(even, 0)
    loads = link_loads(network, even)
    assert loads.sum() == pytest.approx(even.sum() * len(fanouts))
    assert loads.max() <= 3 * loads.mean()


@pytest.mark.parametrize(("servers", "degree"), [(8, 4), (27, 6), (40, 10), (64, 8), (64, 32), (128, 32)])
def test_fly_routes_spread_over_the_links(servers: int, degree: int) -> None:
    """One route a pair cannot split evenly, but no link has more than twice the pairs that it would have then."""
    fanouts = fly_fanouts(servers, degree)
    assert fanouts is not None
    routes = fly(servers, fanouts, line_rate_bps=1, link_bps=1).routes
    pairs = np.bincount(routes[routes >= 0])
    assert pairs.max() <= 2 * servers / 2 / min(fanouts) * imbalance(servers, fanouts)
    assert np.mean(pairs > 0) > 0.9


@pytest.mark.parametrize("name", matrices.NAMES)
@pytest.mark.parametrize("owners", [[0, 1], [0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3]])
def test_matrices(name: str, owners: list[int]) -> None:
    numbers = np.array(owners)
    traffic = matrices.make(name, numbers, 100, load=0.5, seed=1)
    assert (traffic >= 0).all()
    assert (np.diagonal(traffic) == 0).all()
    most = 50 * (1 - 1 / len(owners)) if name == "uniform" else 50
    assert traffic.sum(axis=1).max() <= 50 + 1e-9
    if name != "hotspot":
        assert traffic.sum(axis=0).max() <= 50 + 1e-9
        assert max(traffic.sum(axis=0).max(), traffic.sum(axis=1).max()) == pytest.approx(most)
    assert np.array_equal(traffic, matrices.make(name, numbers, 100, load=0.5, seed=1))
    assert matrices.by_server(traffic, numbers).sum() == pytest.approx(traffic.sum())


def test_fair_shares() -> None:
    assert jain(np.array([1.0, 1.0, 1.0])) == 1
    assert jain(np.array([1.0, 0.0, 0.0, 0.0])) == 0.25
    offered = np.array([[0.0, 9.0], [0.0, 3.0], [1.0, 6.0]])
    assert max_min(offered, 10.0)[:, 1].tolist() == [3.5, 3.0, 3.5]
    assert max_min(offered, 10.0)[:, 0].tolist() == [0.0, 0.0, 1.0]
