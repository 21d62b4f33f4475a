"""How even a load was, beside the prediction: against the fluid model of the simulator and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.selftest.balance import Balance, CoreLoad, balance, jain
from rbops.selftest.counters import ServerCounters, difference, parse
from rbops.spec import load_spec
from rbops.vlb import fluid
from rbops.vlb.fairness import jain as arrays_jain

SIZE, SECONDS = 68, 2.0
BITS = (SIZE - 4) * 8


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> ClusterPlan:
    """Quota of a pair: 2.5 Mbps, that is 4,882 frames a second."""
    path: Path = tmp_path_factory.mktemp("spec") / "rb4.yml"
    path.write_text(
        "name: rb4\nrouter: {external_ports: 4, line_rate: 10Mbps}\nservers: {profile: lab}\n"
        "interconnect: {direct_quota: paper}\n"
    )
    return plan_spec(load_spec(path))


def counted(paths: dict[tuple[int, int | None], int], received: tuple[int, int]) -> ServerCounters:
    return ServerCounters(
        received={"external": received[0], "internal": received[1]}, paths=paths, cores={0: sum(received)}
    )


def test_shares_and_loads(plan: ClusterPlan) -> None:
    """n0 sends n1 twice its quota: half of it directly, the rest in equal parts over n2 and n3."""
    total = round(2 * plan.forwarding.direct_quota_bps * SECONDS / BITS)
    sent = {(1, None): total // 2, (1, 2): total // 4, (1, 3): total // 4}
    found = balance(
        plan,
        {
            "n0": counted(sent, (total, 0)),
            "n1": counted({}, (0, total)),
            "n2": counted({}, (0, total // 4)),
            "n3": counted({}, (0, total // 4)),
        },
        SIZE,
        SECONDS,
    )
    assert found is not None
    (pair,) = found.pairs
    assert (pair.source, pair.destination, pair.direct) == ("n0", "n1", pytest.approx(0.5, abs=1e-3))
    assert dict(pair.over) == {"n2": pytest.approx(0.25, abs=1e-3), "n3": pytest.approx(0.25, abs=1e-3)}
    assert pair.predicted == pytest.approx(0.5, abs=1e-3)
    assert found.farthest == pytest.approx(0, abs=1e-3)
    for load in found.servers:
        assert load.handled == pytest.approx(load.predicted, rel=1e-3)
    assert found.busiest_core == pytest.approx(4 / 2.5, rel=1e-3)


@given(
    traffic=st.lists(st.integers(0, 40_000), min_size=12, max_size=12), routing=st.sampled_from(["vlb", "direct-vlb"])
)
def test_the_prediction_is_the_simulators_fluid(plan: ClusterPlan, traffic: list[int], routing: str) -> None:
    """Packets between each two servers, however they went: loads are those of ``rbops.vlb.fluid``."""
    other = replace(plan, forwarding=replace(plan.forwarding, routing=routing))
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    packets = dict(zip(pairs, traffic, strict=True))
    readings = {
        f"n{a}": counted(
            {(b, None): packets[a, b] for b in range(4) if b != a}, (sum(packets[a, b] for b in range(4) if b != a), 0)
        )
        for a in range(4)
    }
    found = balance(other, readings, SIZE, SECONDS)
    if not any(traffic):
        assert found is None
        return
    assert found is not None
    rates = np.zeros((4, 4))
    for (a, b), number in packets.items():
        rates[a, b] = number * BITS / SECONDS
    legs = fluid.leg_loads(rates, other.forwarding.routing, other.forwarding.direct_quota_bps)
    wanted = (rates.sum(axis=1) + legs.sum(axis=0)) * SECONDS / BITS
    if routing == "direct-vlb":
        assert [load.predicted for load in found.servers] == pytest.approx(list(wanted), rel=1e-9)
    for pair in found.pairs:
        rate = rates[int(pair.source[1:]), int(pair.destination[1:])]
        direct, _ = fluid.shares(4, other.forwarding.routing, rate, other.forwarding.direct_quota_bps)
        assert pair.predicted == pytest.approx(direct)


def test_nothing_is_predicted_of_a_part_of_the_servers(plan: ClusterPlan) -> None:
    found = balance(plan, {"n0": counted({(1, None): 5}, (5, 0))}, SIZE, SECONDS)
    assert found is not None
    assert [pair.predicted for pair in found.pairs] == [None]
    assert [load.predicted for load in found.servers] == [None]
    assert found.farthest is None
    assert balance(plan, {"n0": ServerCounters(error="gone")}, SIZE, SECONDS) is None


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_jain(values: list[int]) -> None:
    if any(values):
        assert jain(values) == pytest.approx(arrays_jain(np.array(values, dtype=float)))
    else:
        assert jain(values) is None


def test_an_idle_core_counts() -> None:
    even = Balance((), (), (CoreLoad("n0", 0, 10), CoreLoad("n0", 1, 0)))
    assert (even.core_fairness, even.busiest_core) == (0.5, 2.0)


def test_counters_by_core() -> None:
    raw = {"total": {key: {} for key in ("received", "forwarded", "punted", "dropped")}, "paths": [], "ports": {}}
    before = parse({**raw, "cores": {"1": {"received": {"external": 2, "internal": 1}}}})
    after = parse(
        {**raw, "cores": {"1": {"received": {"external": 5, "internal": 1}}, "3": {"received": {"external": 4}}}}
    )
    assert difference(before, after).cores == {1: 3, 3: 4}


def test_time_of_cores(plan: ClusterPlan) -> None:
    """By the kernel's account, beside the plan's CPU bound; nothing is said of what was not read."""
    raw = {
        "total": {"received": {"external": 8, "internal": 0}, "forwarded": {}, "punted": {}, "dropped": {}},
        "paths": [],
        "ports": {},
        "cores": {"0": {"received": {"external": 8, "internal": 0}}, "1": {"received": {"external": 0}}},
        "cpus": {"0": {"busy_s": 10.0, "softirq_s": 4.0}},
        "at_s": 100.0,
    }
    later = json.loads(json.dumps(raw))
    later["cores"]["0"]["received"]["external"] = later["total"]["received"]["external"] = 1_000_008
    later["cpus"]["0"] = {"busy_s": 11.5, "softirq_s": 5.0}
    later["at_s"] = 102.0
    mean = plan.prediction.rate_bps / plan.prediction.rate_pps / 8
    found = balance(plan, {"n0": difference(parse(raw), parse(later))}, mean, SECONDS)
    assert found is not None
    first, second = found.cores
    assert (first.busy, first.softirq, second.busy, second.predicted) == (0.75, 0.5, None, None)
    bound = plan.prediction.per_component.cpu
    each = len(plan.servers[0].cores.dataplane) * mean * 8 / bound
    assert first.predicted == pytest.approx(1_000_000 * each / 2)
    assert first.ratio == pytest.approx(0.5 / first.predicted)
    assert first.to_dict()["softirq"] == 0.5
    other = balance(plan, {"n0": difference(parse(raw), parse(later))}, 3 * mean, SECONDS)
    assert other is not None
    assert [core.predicted for core in other.cores] == [None, None]


def test_an_older_server_says_nothing_of_its_cores(plan: ClusterPlan) -> None:
    found = balance(plan, {"n0": counted({}, (10, 0))}, SIZE, SECONDS)
    assert found is not None
    assert [(core.busy, core.ratio) for core in found.cores] == [(None, None)]
