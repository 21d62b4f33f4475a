"""Traffic matrices: how they become flows, what the simulator makes of them, and a real data plane beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.errors import UsageError
from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.selftest.matrices import POINTS, MatrixRun, PathShare, compared
from rbops.selftest.options import MatrixOptions, SelftestOptions
from rbops.selftest.phases import matrices
from rbops.selftest.phases.matrices import apportioned, check
from rbops.selftest.ports import AttachedTester, ports_under_test
from rbops.selftest.simulated import simulated_paths, trace_of
from rbops.selftest.sizes import sizes_of
from rbops.selftest.traffic import Traffic, sent_to
from rbops.spec import load_spec
from tests.support.errors import raises

from .test_real_dataplane import SPEC, Cluster, running

SLOW = SPEC.replace("5Gbps", "1Gbps")
"""A tenth of a machine's time: what stops its processors does not decide where packets go."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> ClusterPlan:
    path: Path = tmp_path_factory.mktemp("spec") / "rb4.yml"
    path.write_text(SLOW)
    return plan_spec(load_spec(path))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(SLOW, tmp_path_factory.mktemp("slow")) as found:
        yield found


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=64).filter(any), st.integers(1, 512))
def test_seats_are_in_proportion(parts: list[float], seats: int) -> None:
    counts = apportioned(parts, seats)
    assert sum(counts) == seats
    for part, count in zip(parts, counts, strict=True):
        assert abs(count - part * seats / sum(parts)) < 1
        assert part or not count


def _traffic(**more: object) -> Traffic:
    """Port 0 to 1 three times as much as to 2; groups of 4 flows, 5 packets each."""
    usual = Traffic("x", sizes_of(1518, 4), {0: (1, 2)}, 1.0, 1e4, None, 8, flows=12, active=4, burst=5, timed=True,
                    only={(0, 1): 12, (0, 2): 4})  # fmt: skip
    return replace(usual, **more)  # type: ignore[arg-type]


def _testers(plan: ClusterPlan) -> list[AttachedTester]:
    ports = ports_under_test(plan, seed=1)
    return [AttachedTester(at, port, "02:4e:00:00:00:02", "02:4c:00:00:00:01", {}) for at, port in enumerate(ports)]


def test_the_turns_are_mixed_by_weight() -> None:
    turns = _traffic().turns(0)
    assert [to for to, _ in turns].count(1) == 12
    for group in range(0, 16, 4):
        assert sorted(to for to, _ in turns[group : group + 4]) == [1, 1, 1, 2]


def test_the_trace_has_the_frames_as_they_were_sent(plan: ClusterPlan) -> None:
    traffic = _traffic()
    trace = trace_of(_testers(plan), traffic, {0: [(5000, 5800, 8), (1_005_000, 1_006_000, 211)]}, seed=1)
    assert trace.packets == 211
    assert list(trace.time[:9]) == [*range(0, 800, 100), 1_000_000]
    assert set(trace.size.tolist()) == {1514}
    out = trace.flow_out[trace.flow]
    for to in (1, 2):
        assert int((out == to).sum()) == sent_to(211, traffic.turns(0), to, 4, 5)
    # Four flows at a time, five packets of each.
    counts = [np.unique(trace.flow[at : at + 20], return_counts=True)[1].tolist() for at in range(0, 200, 20)]
    assert counts == [[5, 5, 5, 5]] * 10


def test_below_the_quota_all_goes_directly_and_above_it_a_part(plan: ClusterPlan) -> None:
    """The quota is 250 Mbps; 1,514 bytes in 25 us are 484 Mbps."""
    traffic = _traffic(destinations={0: (1,)}, only={})
    slow, fast = ([(at * step, at * step, at + 1) for at in range(12_000)] for step in (100_000, 25_000))
    testers = _testers(plan)
    assert simulated_paths(plan, testers, traffic, {0: slow}, {}, 1) == {("n0", "n1"): {None: 12_000}}
    (taken,) = simulated_paths(plan, testers, traffic, {0: fast}, {}, 1).values()
    assert taken.keys() == {None, "n2", "n3"}
    assert 0.3 < taken[None] / 12_000 < 0.6
    (spread,) = simulated_paths(plan, testers, traffic, {0: fast}, {"n0": (50, 50)}, 1).values()
    assert abs(spread[None] - taken[None]) < 0.2 * 12_000


def test_shares_are_compared_path_by_path() -> None:
    measured = {("n0", "n1"): {None: 900, "n2": 100}, ("n0", "n2"): {None: 10}}
    found = compared(MatrixRun("x", 0.5), measured, {("n0", "n1"): {None: 1780, "n3": 220}})
    assert found.paths == (
        PathShare("n0", "n1", None, 0.9, 0.89), PathShare("n0", "n1", "n2", 0.1, 0.0),
        PathShare("n0", "n1", "n3", 0.0, 0.11),
    )  # fmt: skip
    assert (found.packets, found.direct, found.simulated_direct) == (1010, 910 / 1010, 0.89)
    assert (found.farthest, found.agrees) == (found.paths[2], False)
    assert replace(found, paths=found.paths[:1]).agrees is True
    assert MatrixRun("x", 0.5).agrees is None


def test_a_matrix_that_there_is_not_is_refused(plan: ClusterPlan, tmp_path: Path) -> None:
    with raises(UsageError, "simulate.unknown-matrix"):
        check(plan, MatrixOptions(("uniform", "hotpot")))
    (tmp_path / "small.csv").write_text("0,1\n1,0\n")
    with raises(UsageError, "simulate.matrix-size"):
        check(plan, MatrixOptions((str(tmp_path / "small.csv"),)))
    with raises(UsageError, "selftest.matrix-load"):
        MatrixOptions(("uniform",), 1.5)
    assert [MatrixOptions(load=load).load_of(name) for load in (None, 0.3) for name in ("pair", "a.csv")] == [
        0.6, None, 0.3, 0.3,
    ]  # fmt: skip


def _run(cluster: Cluster, *names: str) -> tuple[tuple[MatrixRun, ...], list[str]]:
    wanted = MatrixOptions(names, seconds=0.5)
    result = cluster.run(SelftestOptions(phases=("matrices",), matrices=wanted))
    return result.matrices, [fault.kind for fault in result.faults]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts for each matrix, on a machine that is too busy for one."""
    monkeypatch.setattr(matrices, "_ATTEMPTS", 2)


@pytest.mark.root
@pytest.mark.usefixtures("short")
def test_router_and_simulator_agree(cluster: Cluster) -> None:
    """A machine whose processors are taken away delays packets inside the router too, where no clock of a tester sees
    it: single paths may then be a few points apart, which is no fault of the router's.
    """
    found, faults = _run(cluster, "uniform", "hotspot", "permutation")
    assert set(faults) <= {"shares"}
    for run in found:
        assert abs(run.direct - run.simulated_direct) <= POINTS, run
        assert max(path.apart for path in run.paths) <= 5 * POINTS, run
    uniform, hotspot, permutation = found
    assert uniform.direct > hotspot.direct > permutation.direct > 0.2
    assert {path.via for path in permutation.paths if path.source == "n0"} > {None}


@pytest.mark.root
@pytest.mark.usefixtures("short")
def test_a_router_that_balances_otherwise_does_not(cluster: Cluster) -> None:
    for server in cluster.planes:
        cluster.change(server, lambda config: config["dataplane"].update(routing="vlb"))
    try:
        (found,), faults = _run(cluster, "uniform")
    finally:
        for server in cluster.planes:
            cluster.restore(server)
    assert (found.agrees, faults) == (False, ["shares"])
    assert found.direct < 0.8 < found.simulated_direct
