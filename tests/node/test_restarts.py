"""A service starts again for what it reads, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbops.node.restarts import FIB, UNREAD, WATCH, Started
from rbops.node.schema import NodeConfig, parse
from rbops.render import render
from tests.render.rb4 import mesh

NAMES = {"ext0": "eth4", "int1": "eth5", "int2": "eth6", "int3": "eth7"}
UNIT = "# r, plan {plan}\n[Service]\nExecStart=/usr/sbin/rbops-node {verb}\nRestart={restart}\n"


@pytest.fixture
def config() -> NodeConfig:
    text = next(file.content for file in render(mesh(4)).hosts["n0"] if file.path.endswith("node.json"))
    return parse(text.decode(), Path("node.json"))


@pytest.fixture
def started(tmp_path: Path) -> Started:
    found = Started(tmp_path / "run", tmp_path / "units", tmp_path / "rbops-node")
    for folder in (found.run / "rbops-watch", found.run / "rbops-fib", found.units):
        folder.mkdir(parents=True)
    found.program.write_bytes(b"program")
    units(found)
    return found


def units(started: Started, plan: str = "1", restart: str = "always") -> None:
    for unit, verb in ((WATCH, "watch"), (FIB, "fib")):
        (started.units / unit).write_text(UNIT.format(plan=plan, verb=verb, restart=restart))


def edited(config: NodeConfig, change: Callable[[dict[str, Any]], object]) -> NodeConfig:
    """The same node.json with something else in it."""
    tree = json.loads(config.to_text())
    change(tree)
    return parse(json.dumps(tree), Path("node.json"))


def test_a_service_that_said_nothing_starts_again(started: Started, config: NodeConfig) -> None:
    assert started.outdated(config, NAMES) == [WATCH, FIB]
    started.keep(WATCH, config, NAMES)
    assert started.outdated(config, NAMES) == [FIB]
    started.keep(FIB, config, NAMES)
    assert started.outdated(config, NAMES) == []


@pytest.mark.parametrize(
    ("again", "change"),
    [
        ([], lambda tree: tree.update(digest="another")),
        ([], lambda tree: tree["sysctl"].update({"net.core.somaxconn": "1"})),
        ([], lambda tree: tree["dataplane"].update(fib_sha256="00" * 32)),
        ([], lambda tree: tree["ports"][0].update(addresses=["198.18.9.1/24"])),
        ([FIB], lambda tree: tree["dataplane"].update(flowlet_timeout_s=1.5)),
        ([FIB], lambda tree: tree["dataplane"].update(direct_quota_bps=5)),
        ([FIB], lambda tree: tree["dataplane"]["adjacencies"].clear()),
        ([WATCH, FIB], lambda tree: tree["dataplane"].update(servers=9)),
        ([WATCH, FIB], lambda tree: tree["dataplane"]["next_hop"].update({"3": "int1"})),
        ([WATCH, FIB], lambda tree: tree["ports"][1].update(peer_server=2)),
    ],
)
def test_what_changed_decides(
    started: Started, config: NodeConfig, again: list[str], change: Callable[[dict[str, Any]], object]
) -> None:
    for unit in (WATCH, FIB):
        started.keep(unit, config, NAMES)
    other = edited(config, change)
    assert other != config
    units(started, plan="2")
    assert started.outdated(other, NAMES) == again


def test_devices_units_and_the_program_count(started: Started, config: NodeConfig) -> None:
    for unit in (WATCH, FIB):
        started.keep(unit, config, NAMES)
    assert started.outdated(config, {**NAMES, "int1": "eth8"}) == [WATCH, FIB]
    units(started, restart="on-failure")
    assert started.outdated(config, NAMES) == [WATCH, FIB]
    units(started)
    assert started.outdated(config, NAMES) == []
    replace(started).program.write_bytes(b"another program")
    assert started.outdated(config, NAMES) == [WATCH, FIB]


def test_what_a_service_wrote_is_no_condition(started: Started, config: NodeConfig) -> None:
    started.keep(FIB, config, NAMES)
    (started.run / "rbops-watch" / "input").write_bytes(b"\xff\x00")
    assert started.outdated(config, NAMES) == [WATCH]


def test_by_hand_nothing_is_kept(started: Started, config: NodeConfig) -> None:
    (started.run / "rbops-fib").rmdir()
    started.keep(FIB, config, NAMES)
    assert started.outdated(config, NAMES) == [WATCH, FIB]


def test_every_key_that_is_not_read_is_one_of_a_data_plane(config: NodeConfig) -> None:
    """A key that was renamed would count as read from then on."""
    assert UNREAD - {"answer_from6", "follow", "marker"} <= config.dataplane.to_json().keys()
