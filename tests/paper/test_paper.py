"""Every number of the paper, by its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops.paper import Entry, entries
from rbops.predict.reference import disputed

NUMBERS = yaml.safe_load((Path(__file__).parent.parent / "data" / "paper.yml").read_text())
OURS = {entry.name: entry for entry in entries()}


def ours(name: str) -> float:
    value = OURS[name].rbops
    assert value is not None
    return value


def test_nothing_is_left_out() -> None:
    assert [number["name"] for number in NUMBERS] == list(OURS)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number["name"])
def test_number(number: dict[str, Any]) -> None:
    entry: Entry = OURS[number["name"]]
    assert entry.kind == number["kind"]
    assert entry.section.startswith(number["section"])
    assert entry.paper == pytest.approx(number["value"], rel=1e-3)
    if not number.get("modelled", True):
        assert entry.rbops is None
        return
    assert entry.rbops is not None
    if number["kind"] == "disputed":
        assert entry.rbops != pytest.approx(number["value"], rel=0.05)
        assert entry.rbops == pytest.approx(number["honest"], rel=1e-3)
    elif "tolerance" in number:
        assert entry.rbops == pytest.approx(number["value"], rel=number["tolerance"] + 1e-9)
    else:
        assert entry.rbops > 0


def test_measured_rates_lie_near_the_paper() -> None:
    """No tolerance is claimed for the cluster, but the model must stay between the paper's own bounds."""
    for packets in ("64 B", "Abilene"):
        low, high = ours(f"RB4, {packets}, expected at least"), ours(f"RB4, {packets}, expected at most")
        assert low <= ours(f"RB4, {packets}") <= high


def test_flowlets_reduce_reordering_tenfold_and_more() -> None:
    """The paper's own factor is 36; both simulated shares come near its traffic only in order of magnitude."""
    alone = ours("reordered sequences, Direct VLB alone")
    assert 0.01 < alone < 0.2
    assert ours("reordered sequences, Direct VLB with flowlets") * 10 <= alone


def test_each_disputed_number_is_explained_with_both_values() -> None:
    papers = {item.paper for item in disputed()}
    assert papers == {"19.9 Gbps", "2sR/N", "2048 ports", "66.4 us"}
    for item in disputed():
        assert item.rbops != item.paper
        assert item.why
        assert item.section
