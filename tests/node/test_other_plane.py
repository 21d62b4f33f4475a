"""A server changes its data plane for one of another kind: said, and nothing of the old one stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from rbops.node import ingress
from rbops.node.engine import Engine
from rbops.node.execute import undo
from rbops.node.schema import NodeConfig
from rbops.node.settings import Run
from rbops.node.state import State, write_whole
from rbops.node.system import Done
from tests.node.recorded import Recorded, config, external

CLSACT = "tc qdisc show dev eth7 clsact"
SHOW = "tc filter show dev eth7 ingress"
FILTER = "filter protocol all pref 82 bpf chain 0 handle 0x1 direct-action bytecode '1,6 0 0 2'\n"


def engine(wanted: NodeConfig, state: State) -> Engine:
    return Engine(Recorded(), wanted, state, {}, lambda *_: None, (), ())  # type: ignore[arg-type, return-value]


def test_the_change_of_data_planes_is_said(tmp_path: Path) -> None:
    state, xdp = State(tmp_path), config()
    assert engine(xdp, state)._other_plane() == []
    write_whole(state.applied, json.dumps({"digest": "d", "config": xdp.to_text()}).encode())
    assert engine(xdp, state)._other_plane() == []
    other = replace(xdp, dataplane=SimpleNamespace(kind="click"))
    (setting,) = engine(other, state)._other_plane()
    assert (setting.subject, setting.name, setting.have) == ("data plane", "kind", "xdp")
    assert setting.want == "click (nothing is forwarded between the two)"


def test_the_hook_that_was_not_there_goes_with_the_filter() -> None:
    (port,) = config(ports=[external(closed=True)]).ports
    bare = Recorded({CLSACT: "", SHOW: ""})
    (setting,) = ingress.settings(port, "eth7", ingress.read(bare, "eth7"))
    assert setting.differs
    assert [" ".join(action.argv[:4]) for action in setting.undo if isinstance(action, Run)] == [
        "tc filter del dev",
        "tc qdisc del dev",
    ]
    somebodys = Recorded({CLSACT: "qdisc clsact ffff: parent ffff:fff1\n", SHOW: ""})
    (setting,) = ingress.settings(port, "eth7", ingress.read(somebodys, "eth7"))
    assert [" ".join(action.argv[:4]) for action in setting.undo if isinstance(action, Run)] == ["tc filter del dev"]
    closed = Recorded({CLSACT: "qdisc clsact ffff: parent ffff:fff1\n", SHOW: FILTER})
    (setting,) = ingress.settings(port, "eth7", ingress.read(closed, "eth7"))
    assert not setting.differs


def test_a_hook_that_is_gone_already_is_no_failure() -> None:
    """As tc says it when somebody took the hook away, or the device was reset."""
    answers: dict[str, Done | str] = {
        "tc filter del dev eth7 ingress pref 82": Done(2, "", "Error: Parent Qdisc doesn't exists.\n"),
        "tc qdisc del dev eth7 clsact": Done(2, "", "Error: Cannot find specified qdisc on specified device.\n"),
    }
    (port,) = config(ports=[external(closed=True)]).ports
    (setting,) = ingress.settings(port, "eth7", ingress.Facts())
    assert undo(Recorded(answers), setting.undo) == []
