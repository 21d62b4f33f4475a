"""The paper's RB4 beside a self-test: which plan it is, and which figures were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.selftest.beside import beside_paper, is_rb4
from rbops.selftest.latency import Distribution, LatencyPoint
from rbops.selftest.phase import Pair, Phase, Source
from rbops.selftest.rateresult import Bounds, RateResult, RateRun
from rbops.spec import load_spec

RB4 = (Path(__file__).parents[2] / "rbops/spec/presets/rb4.yml").read_text()


def _plan(folder: Path, text: str) -> ClusterPlan:
    path = folder / "router.yml"
    path.write_text(text)
    return plan_spec(load_spec(path))


@pytest.fixture
def plan(tmp_path: Path) -> ClusterPlan:
    return _plan(tmp_path, RB4)


@pytest.mark.parametrize(
    ("before", "after"),
    [("line_rate: 10Gbps", "line_rate: 1Gbps"), ("external_ports: 4", "external_ports: 5"),
     ("routing: direct-vlb", "routing: vlb"), ("application: route", "application: forward")],
)  # fmt: skip
def test_another_router_is_not_rb4(plan: ClusterPlan, tmp_path: Path, before: str, after: str) -> None:
    assert is_rb4(plan)
    assert before in RB4
    other = _plan(tmp_path, RB4.replace(before, after))
    assert not is_rb4(other)
    assert beside_paper(other, (), RateResult(64, 4e6, "precision", ()), (), ()) == ()


def test_what_was_measured_stands_beside_it(plan: ClusterPlan) -> None:
    pair = Phase("pair", 1518, 1.0, (Source(0, 2000, 0, 1.0),), (Pair(0, 3, 2000, 2000, sequences=4, late=4),))
    other = Phase("matrix", 64, 1.0, (Source(0, 9, 0, 1.0),), (Pair(0, 3, 9, 9),))
    bounds = Bounds(0.0, 5e6, None), Bounds(0.005, 6e6, None)
    mixed = RateRun(736, 1, "mlr", 0.005, 0.5, 9e6, *bounds, complete=True, trials=(), seconds=1.0, mix="abilene")
    spread = Distribution(10, 1e-6, (2e-6, 3e-6, 4e-6, 5e-6), 9e-6, 2e-6, 1e-7, ())
    points = [LatencyPoint(64, part, 1e3, 1e3, 10, 0, spread, spread) for part in (None, 0.5)]
    found = beside_paper(plan, (other, pair), RateResult(64, 4e6, "precision", ()), (mixed,), points)
    assert [(one.low, one.high, one.measured) for one in found] == [
        (12e9, 12e9, pytest.approx(4e6 * 64 * 8)),
        (35e9, 35e9, pytest.approx(6e6 * 736 * 8)),
        (0.0015, 0.0015, pytest.approx(pair.reordering.fraction)),
        (47.6e-6, 66.4e-6, 2e-6),
    ]
    assert beside_paper(plan, (other,), RateResult(512, 4e6, "precision", ()), (), ()) == ()
