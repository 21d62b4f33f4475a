"""Every number of the spec at any value that it may have alone: the whole is planned, or refused with the field."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rbops.errors import Diagnostic, SpecError
from rbops.planner import Planning, planning
from rbops.render.graph import cluster_graph, server_graph, write
from rbops.report.explain import explain_blocks, explain_json
from rbops.report.plan import plan_blocks
from rbops.spec.load import load_bytes
from tests.spec.test_numbers import FILE, PLACES, replaced

VALUES = (
    "0", "1", "2", "3", "7", "16", "63", "64", "65", "255", "256", "1024", "4096", "65535", "65536", "0-7", "0-63",
    "1bps", "1kbps", "1Mbps", "1Gbps", "25Gbps", "40Gbps", "400Gbps", "1Tbps", "100Tbps", "1Hz", "1MHz", "100GHz",
    "0s", "1ns", "1us", "1ms", "1s", "60s", "64B", "128B", "1518B", "1KiB", "1TiB", "1W", "1000000W", "0.01USD",
    "100000000USD",
)  # fmt: skip
SMALL = 64
MOST = 256
"""External ports: thousands take a minute to plan, and say no more."""

ROUTERS = st.fixed_dictionaries(
    {},
    optional={
        "traffic": st.sampled_from(["uniform", "worst-case"]),
        "guarantee": st.just("line-rate"),
        "application": st.sampled_from(["forward", "route"]),
    },
)
PROFILES = ("nehalem", "current", "more_nics", "lab", "xeon-6338n-2s-100g", "epyc-7543-2s-25g")
SERVERS = st.one_of(st.none(), st.sampled_from(PROFILES).map(lambda name: {"profile": name}))
NUMBERS = st.dictionaries(st.sampled_from(PLACES), st.sampled_from(VALUES), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, ROUTERS, SERVERS, st.sampled_from(["auto", "mesh", "fly"]), st.sampled_from([(), ("hosts",)]))
def test_numbers_are_planned_or_refused(
    numbers: dict[Any, str],
    router: dict[str, str],
    servers: dict[str, str] | None,
    topology: str,
    left_out: tuple[str, ...],
) -> None:
    tree = replaced(numbers)
    tree["router"] |= router
    ports = str(tree["router"]["external_ports"])
    assume(not ports.isdecimal() or int(ports) <= MOST)
    tree["interconnect"]["topology"] = topology
    tree["servers"] = servers or tree["servers"]
    for section in left_out:
        del tree[section]
    refused: list[Diagnostic] = []
    try:
        everything_can_be_shown(planning(load_bytes(yaml.safe_dump(tree).encode(), FILE, {})))
    except SpecError as error:
        refused = [*error.diagnostics]
    assert all(one.message and one.line >= 1 and one.render() for one in refused)


def everything_can_be_shown(made: Planning) -> None:
    plan = made.plan
    assert 0 <= plan.prediction.rate_bps <= made.spec.router.external_ports * made.spec.router.line_rate_bps
    assert list(plan_blocks(made))
    assert list(explain_blocks(made))
    assert explain_json(made)["schema_version"] == 1
    assert len(plan.digest) == SMALL
    if len(plan.servers) <= SMALL:
        assert write(cluster_graph(plan), "dot")
        assert write(server_graph(plan.servers[-1]), "svg")
