"""What planning, checking and writing a plan cost grows with the number of cables, not faster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from rbops.planner import plan_spec, planning
from rbops.report.plan import plan_blocks
from rbops.report.tables import plain
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.router import Router

R = 10_000_000_000
SLACK = 1.25
"""What is constant or a logarithm makes cables of smaller plans dearer, never cheaper, but for the first of a kind."""


def calls(work: Callable[[], object]) -> int:
    """How many Python functions ``work`` calls: like time, but the same in each run and on each machine."""
    count = 0

    def step(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(step)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def spec(ports: int, profile: str = "current", dataplane: str = "xdp") -> Spec:
    router = Router(ports, R, allow=("cross-core",) if dataplane == "click" else ())
    return Spec("large", router, Servers(profile), dataplane=dataplane)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("small", "large", "profile", "dataplane"),
    [(32, 64, "more_nics", "xdp"), (64, 128, "current", "xdp"), (32, 64, "more_nics", "click")],
    ids=["mesh", "fly", "mesh whose cores share ports out"],
)
@pytest.mark.parametrize("form", ["plan", "digest", "json", "text"])
def test_cost_grows_with_the_cables(small: int, large: int, profile: str, dataplane: str, form: str) -> None:
    costs = []
    for ports in (small, large):
        asked = spec(ports, profile, dataplane)
        made = planning(asked)
        work = {
            "plan": lambda asked=asked: planning(asked),
            "digest": lambda made=made: made.plan.digest,
            "json": lambda made=made: made.plan.to_json(indent=2),
            "text": lambda made=made: plain(plan_blocks(made)),
        }[form]
        costs.append(calls(work) / len(made.plan.links))
    assert costs[1] < SLACK * costs[0]


def test_pieces_join_to_the_json() -> None:
    plan = plan_spec(spec(40))
    pieces = list(plan.json_pieces(indent=2))
    assert "".join(pieces) == plan.to_json(indent=2)
    assert max(map(len, pieces)) < len(plan.to_json(indent=2)) / 10
