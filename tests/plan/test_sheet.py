"""The cable sheet: every cable and external port once, both ends right."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbops.cli.app import build
from rbops.planner import planning
from rbops.report.sheet import sheet
from rbops.spec import load_spec

SPEC = """\
router: {external_ports: 4, line_rate: 10Gbps}
servers: {profile: lab}
hosts:
  n1: {rack: R12-U07}
  n0: {ports: {ext0: {pci: "0000:03:00.0"}, int1: {mac: "3c:fd:fe:00:00:01"}, int2: {name: enp5s0}}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "router.yml"
    path.write_text(SPEC)
    return path


def rows(spec: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(sheet(planning(load_spec(spec))).splitlines()))


def test_a_row_a_cable_with_both_ends(spec: Path) -> None:
    plan, found = planning(load_spec(spec)).plan, rows(spec)
    cables = [row for row in found if row["b_server"]]
    assert [(f"{row['a_server']}:{row['a_port']}", f"{row['b_server']}:{row['b_port']}") for row in cables] == [
        (link.a, link.b) for link in plan.links
    ]
    first = cables[0]
    assert (first["cable"], first["rate_gbps"], first["label_a"]) == ("1", "10", "1 n0:int1 > n1:int0 10G")
    assert first["label_b"] == "1 n1:int0 > n0:int1 10G"
    assert (first["a_pci"], first["a_mac"], first["a_device"], first["b_device"]) == (
        "",
        "3c:fd:fe:00:00:01",
        "",
        "int0",
    )
    assert (first["a_rack"], first["b_rack"]) == ("", "R12-U07")
    assert cables[1]["a_device"] == "enp5s0"
    # Of one server no two ends are at the same place of a card.
    places = [(row[f"{end}_server"], row[f"{end}_card"], row[f"{end}_card_port"]) for row in cables for end in "ab"]
    ends = [place for place in places if place[1]]
    assert len(set(ends)) == len(ends)


def test_external_ports_have_one_end(spec: Path) -> None:
    outside = [row for row in rows(spec) if not row["b_server"]]
    assert [row["cable"] for row in outside] == ["ext0", "ext1", "ext2", "ext3"]
    assert (outside[0]["a_pci"], outside[0]["label_a"]) == ("0000:03:00.0", "ext0 n0:ext0 > 198.18.0.1/24 10G")


def test_the_verb(spec: Path) -> None:
    app = build()
    done = CliRunner().invoke(app, ["plan", str(spec), "--sheet"])
    assert (done.exit_code, done.stdout) == (0, sheet(planning(load_spec(spec))))
    for option in (["--server", "n0"], ["--section", "cabling"], ["--format", "json"]):
        done = CliRunner().invoke(app, ["plan", str(spec), "--sheet", *option])
        assert done.exit_code != 0
