"""The bench that leaves a step out finds its text in the sources: whoever changes those changes it too."""

from __future__ import annotations

import pytest

from bench.steps import STEPS, WHOLE, figures
from rbops.resources import bpf_object


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_there_once(name: str) -> None:
    sources = bpf_object("dataplane/xdp", "router.bpf.o").parent.parent
    for file, text, instead in STEPS[name].changes:
        assert (sources / file).read_text().count(text) == 1
        assert text != instead


def test_a_step_costs_what_is_saved_without_it() -> None:
    found = figures({"redirect": [10e6, 10e6], WHOLE: [5e6, 4e6], "flowlet": [8e6, 5e6]}, 2.0)
    assert found["redirect"] == {"mpps": 10.0, "saved_ns": 125.0, "saved_cycles": 250}
    assert found["flowlet"] == {"mpps": 6.5, "saved_ns": 62.5, "saved_cycles": 125}
    assert found[WHOLE]["ns"] == 225.0
