from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from rbops.cli.predict import simulate
from rbops.errors import UsageError
from rbops.planner import load_plan
from rbops.topology.wiring import fly_cables, fly_fanouts
from rbops.vlb.network import network_of
from tests.support.errors import raises

RB4 = "name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps, packets: abilene}\nservers: {profile: nehalem}\n"
FLY = (
    "name: big\nrouter: {external_ports: 64, line_rate: 10Gbps}\nservers: {profile: current}\n"
    "interconnect: {topology: fly}\n"
)


@pytest.fixture
def rb4(tmp_path: Path) -> str:
    path = tmp_path / "rb4.yml"
    path.write_text(RB4)
    return str(path)


def run(*arguments: str) -> str:
    app = Typer()
    app.command("simulate")(simulate)
    result = CliRunner().invoke(app, [*arguments, "--packets", "40000"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json(rb4: str) -> None:
    found = json.loads(run(rb4, "--format", "json", "--matrix", "gravity", "--seed", "3"))
    assert found["schema_version"] == 1
    assert found["topology"] == "mesh"
    assert len(found["links"]) == 12
    assert len(found["servers"]) == 4
    assert 2 <= found["processing_factor"] <= 3
    assert found == json.loads(run(rb4, "--format", "json", "--matrix", "gravity", "--seed", "3"))


def test_text_and_options(rb4: str) -> None:
    text = run(rb4, "--routing", "vlb", "--flowlet-timeout", "0", "--load", "0.5")
    assert "VLB, no flowlets over a mesh of 4 servers" in text
    assert "reordered sequences" in text
    assert "n0>n1" in text


def test_reordering_experiment(rb4: str) -> None:
    runs = json.loads(run(rb4, "--reordering", "--format", "json"))["runs"]
    with_flowlets, without, vlb = (one["reordered"]["fraction"] for one in runs)
    assert with_flowlets * 10 <= without < vlb
    assert "0.15 %" in run(rb4, "--reordering")


def test_matrix_and_capture_from_files(rb4: str, tmp_path: Path) -> None:
    matrix = tmp_path / "m.csv"
    matrix.write_text("0,1e9,0,0\n0,0,1e9,0\n0,0,0,1e9\n1e9,0,0,0\n")
    assert json.loads(run(rb4, "--matrix", str(matrix), "--format", "json"))["offered_bps"] == pytest.approx(
        4e9, rel=0.05
    )
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for index in range(50):
        packet = (
            bytes(12)
            + b"\x08\x00"
            + bytes([0x45])
            + bytes(8)
            + bytes([17, 0, 0])
            + struct.pack(">IIHH", index, 2, 3, 4)
        )
        data += struct.pack("<IIII", 1, index, len(packet), 200) + packet
    trace = tmp_path / "t.pcap"
    trace.write_bytes(data)
    assert json.loads(run(rb4, "--trace", str(trace), "--format", "json"))["packets"] == 50


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--matrix", "skewed"), "simulate.unknown-matrix"),
        (("--matrix", "none.csv"), "simulate.matrix-file"),
        (("--flowlet-timeout", "100"), "simulate.flowlet-timeout"),
        (("--flowlet-timeout", "nans"), "simulate.flowlet-timeout"),
        (("--flowlet-timeout=-1ms",), "simulate.flowlet-timeout"),
        (("--trace", "none.pcap"), "capture.unreadable"),
    ],
)
def test_wrong_options(rb4: str, arguments: tuple[str, ...], code: str) -> None:
    app = Typer()
    app.command("simulate")(simulate)
    with raises(UsageError, code):
        CliRunner().invoke(app, [rb4, *arguments], catch_exceptions=False)


def test_network_of_a_planned_fly(tmp_path: Path) -> None:
    """The simulator's links are the plan's cables, both ways."""
    path = tmp_path / "fly.yml"
    path.write_text(FLY)
    plan = load_plan(path)
    network = network_of(plan)
    assert plan.topology.kind == network.kind == "fly"
    index = {server.name: server.index for server in plan.servers}
    cables = sorted(tuple(sorted(index[end.partition(":")[0]] for end in (link.a, link.b))) for link in plan.links)
    half = len(network.ends) // 2
    assert sorted(map(tuple, np.sort(network.ends[:half], axis=1).tolist())) == cables
    fanouts = fly_fanouts(plan.topology.port_servers, plan.topology.degree)
    assert fanouts is not None
    assert len(list(fly_cables(plan.topology.port_servers, fanouts))) == len(cables)
    found = json.loads(run(str(path), "--format", "json"))
    assert found["topology"] == "fly"
    assert found["delivered"] > 0.99


def test_network_of_a_mesh(rb4: str) -> None:
    plan = load_plan(rb4)
    network = network_of(plan)
    assert network.ports == network.port_servers == 4
    assert network.forwarder.direct_quota_bps == 7_500_000_000
    assert network.quota_share == 0.75
    assert set(network.link_bps.tolist()) == {link.rate_bps for link in plan.links}
    assert network.forwarder.cores == len(plan.servers[0].cores.dataplane)
