"""No admissible traffic matrix overloads a link with the planned direct quota, and it is no smaller than it must be.

The proof is in docs/planning.md. Here an adversary looks for a worse matrix than it says: a link's load depends on one
row and one column and is linear between multiples of the quota, so that the worst matrix is among whole numbers.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rbops.errors import SpecError
from rbops.planner import Planning, planning
from rbops.planning.topology import logical_mesh
from rbops.predict.quota import Mesh, direct_quota, safe_quotas, worst_link
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.interconnect import Interconnect
from rbops.spec.router import Router
from rbops.vlb.fluid import leg_loads, link_loads
from rbops.vlb.matrix import Floats, by_server, make
from rbops.vlb.network import network_of

W = 12
"""What a server takes in: divisible by many quotas and numbers of servers."""


def compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    """All ways to share at most ``total`` among ``parts``, up to their order."""
    if parts == 0:
        return [()]
    return [
        (first, *rest)
        for first in range(total + 1)
        for rest in compositions(min(total - first, first), parts - 1)
    ]  # fmt: skip


def adversary(servers: int, quota: int) -> tuple[float, Floats]:
    """The largest load of the link from server 0 to 1 over matrices of whole numbers, and such a matrix."""
    worst, matrix = -1.0, np.zeros((servers, servers))
    for direct in range(W + 1):
        # Row 0 and column 1 share nothing but `direct`: the worst of each by itself is the worst together.
        best = -1.0
        for rest in compositions(W - direct, servers - 2):
            traffic = np.zeros((servers, servers))
            traffic[0, 1], traffic[0, 2:], traffic[2:, 1] = direct, rest, rest[::-1]
            load = leg_loads(traffic, "direct-vlb", quota)[0, 1]
            if load > best:
                best = load
                if load > worst:
                    worst, matrix = load, traffic
    return worst, matrix


@pytest.mark.parametrize("servers", [2, 3, 4, 5, 6, 8])
def test_the_worst_link_is_what_the_adversary_finds(servers: int) -> None:
    for quota in range(W + 1):
        found, matrix = adversary(servers, quota)
        assert matrix.sum(axis=0).max() <= W
        assert matrix.sum(axis=1).max() <= W
        assert found == pytest.approx(worst_link(servers, W, quota)), (servers, quota, matrix)


@pytest.mark.parametrize("servers", [2, 3, 4, 5, 6, 7, 10, 16, 32])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0])
def test_the_adversarial_matrix_reaches_it(servers: int, share: float) -> None:
    owners = np.arange(servers)
    traffic = by_server(make("adversarial", owners, 1, quota=share), owners)
    assert leg_loads(traffic, "direct-vlb", share).max() == pytest.approx(worst_link(servers, 1, share))


@st.composite
def admissible(draw: st.DrawFn, servers: int, rates: list[float]) -> Floats:
    """Permutations, hotspots and mixes of them: row and column of server i add up to ``rates[i]`` at most."""
    traffic = np.zeros((servers, servers))
    for _ in range(draw(st.integers(1, 4))):
        for a, b in enumerate(draw(st.permutations(range(servers)))):
            left = min(rates[a] - traffic[a].sum(), rates[b] - traffic[:, b].sum())
            if a != b:
                traffic[a, b] += left * draw(st.sampled_from([0.1, 0.25, 0.5, 1.0]))
    return traffic


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_matrix_does_worse(data: st.DataObject) -> None:
    """Servers with fewer ports than others are within the bound for those with most."""
    servers = data.draw(st.integers(2, 9))
    rates = data.draw(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=servers, max_size=servers))
    traffic = data.draw(admissible(servers, rates))
    quota = data.draw(st.floats(0, 1))
    assert leg_loads(traffic, "direct-vlb", quota).max() <= worst_link(servers, max(rates), quota) + 1e-9


@given(st.integers(2, 64), st.integers(1, 10**12), st.fractions(2, 70, max_denominator=16))
def test_the_safe_quotas_are_safe_and_all(servers: int, rate: int, speedup: object) -> None:
    """``speedup`` is the link's rate over sR/M: 2 is what plain VLB needs."""
    mesh = Mesh(servers, rate, -(-rate * speedup // servers))  # type: ignore[operator]
    safe = safe_quotas(mesh)
    slack = 1 + 1e-12
    if safe is None:
        for quota in range(0, rate + 1, max(1, rate // 97)):
            assert worst_link(servers, rate, quota) > mesh.link_bps / slack
        return
    for quota in (*safe, sum(safe) // 2):
        assert worst_link(servers, rate, quota) <= mesh.link_bps * slack
    if safe[0] > 0:
        assert worst_link(servers, rate, safe[0] - 1) > mesh.link_bps / slack
    if safe[1] < rate:
        assert worst_link(servers, rate, safe[1] + 1) > mesh.link_bps / slack
    chosen = direct_quota(mesh, "surplus")
    assert mesh.paper_bps <= chosen <= rate
    assert chosen == mesh.paper_bps or safe[0] <= chosen <= safe[1]


def test_the_quota_grows_with_the_links() -> None:
    """With fewer servers thin links need the most."""
    for servers in (6, 7, 10, 32):
        quotas = [direct_quota(Mesh(servers, 10**9, 10**7 * share), "surplus") for share in range(200 // servers, 101)]
        grown = [b - a for a, b in pairwise(quotas)]
        assert min(grown) >= 0
        assert max(grown) > 0


@pytest.mark.parametrize(
    ("servers", "link", "quota"),
    [
        (2, 6, 6),
        (3, 4, 4),  # the least that is safe: with 2 more of the rest would meet on one link
        (3, 6, 4),
        (4, 3, 3),
        (4, 6, 4.5),  # C - sR/M
        (5, 2.4, 1.2),  # no quota is safe: the paper's
        (10, 3.6, 1.2),  # C - sR/M would be 2.4, and a link would get 4.2 of 3.6
        (10, 4.8, 3.6),
        (10, 4.2, 2.4),  # the most that is safe
    ],
)  # fmt: skip
def test_quotas_by_hand(servers: int, link: float, quota: float) -> None:
    """Servers of 6 (10: of 12) Gbps."""
    rate = 12 if servers == 10 else 6
    mesh = Mesh(servers, rate * 10**9, round(link * 10**9))
    assert direct_quota(mesh, "surplus") == round(quota * 10**9)
    assert direct_quota(mesh, "paper") == rate * 10**9 // servers


def planned(ports: int, profile: str, rate: int, kind: str) -> Planning | None:
    router = Router(ports, rate * 10**9)
    joined = Interconnect(topology=kind)  # type: ignore[arg-type]
    try:
        return planning(Spec("x", router, Servers(profile), joined))
    except SpecError:
        return None


@given(
    st.integers(2, 40),
    st.sampled_from(["lab", "nehalem", "current", "more_nics", "faster", "epyc-7543-2s-25g"]),
    st.sampled_from([1, 5, 10, 25, 40]),
    st.sampled_from(["auto", "mesh", "fly"]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_link_of_a_plan_is_overloaded(ports: int, profile: str, rate: int, kind: str, data: st.DataObject) -> None:
    """Meshes and flies, several ports a server, servers with fewer, parallel cables: cables carry it, or it is said."""
    made = planned(ports, profile, rate, kind)
    assume(made is not None)
    assert made is not None
    mesh, quota = logical_mesh(made.choice, rate * 10**9), made.plan.forwarding.direct_quota_bps
    assume(mesh.servers > 1)
    network = network_of(made.plan)
    rates = [float(rate * 10**9 * n) for n in np.bincount(network.owners, minlength=mesh.servers)]
    worst = by_server(make("adversarial", network.owners, rate * 10**9, quota=quota / mesh.rate_bps), network.owners)
    hot = data.draw(admissible(mesh.servers, rates)) if mesh.servers <= 12 else worst
    bound = worst_link(mesh.servers, mesh.rate_bps, quota)
    for traffic in (worst, hot):
        legs = leg_loads(traffic, "direct-vlb", quota)
        assert legs.max() <= bound * (1 + 1e-9)
        if network.kind == "mesh" and bound <= mesh.link_bps:
            assert (link_loads(network, legs) <= network.link_bps * (1 + 1e-9)).all()
    too_thin = bound > mesh.link_bps
    assert any("on a link" in text for text in made.plan.warnings) == too_thin
    safe = safe_quotas(mesh)
    if too_thin:
        assert quota == mesh.paper_bps
        assert safe is None or safe[1] < quota
    elif safe is not None and quota == safe[1] < mesh.rate_bps:
        assert worst_link(mesh.servers, mesh.rate_bps, quota * 1.01 + 1) > mesh.link_bps, "not needlessly small"
