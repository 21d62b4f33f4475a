"""The verbs plan, explain, predict, scale and graph, as a person calls them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from rbops.cli import plan, predict
from rbops.errors import RbopsError
from tests.support.errors import raises

RB4 = "name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: nehalem}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "rb4.yml"
    path.write_text(RB4)
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    plan.register(app)
    predict.register(app)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_plan_text_can_be_cabled_from(spec: Path) -> None:
    text = run("plan", spec).stdout
    for line in ("full mesh of 4 servers", "n2:int3  n3:int2  10 Gbps", "15.35 Gbps of 40 Gbps", "Violations: none"):
        assert line in text
    assert "\x1b" not in text
    cores = [row for row in words(run("plan", spec, "--server", "n3", "--section", "cores").stdout) if row[0] == "n3"]
    assert [row[:4] for row in cores] == [["n3", str(cpu), str(cpu), str(cpu)] for cpu in range(8)]


def test_plan_json_is_the_plan(spec: Path) -> None:
    tree = json.loads(run("plan", spec, "--format", "json").stdout)
    assert (tree["schema_version"], tree["name"], tree["topology"]["kind"]) == (1, "rb4", "mesh")


def test_many_servers_share_a_core_map(tmp_path: Path) -> None:
    path = tmp_path / "big.yml"
    path.write_text("router: {external_ports: 32, line_rate: 10Gbps}\nservers: {profile: current}\n")
    assert ["n0-n31", "0-7", "0-7", "0-7", "all", "32"] in words(run("plan", path).stdout)


def test_ports_are_where_the_spec_selects_their_devices() -> None:
    """In the example n0's first card holds the four devices that ``hosts`` names; no other port is shown there."""
    text = run("plan", Path(__file__).parents[2] / "inventory" / "rack" / "router.yml").stdout
    cards = [line.split() for line in text.partition("\nCards")[2].partition("\n\n")[0].splitlines()]
    shown = {(row[0], row[1]): row[7:] for row in cards if row and row[0] in ("n0", "n1-n7")}
    assert shown["n0", "0"] == ["ext0@0", "ext1@1", "int1@2", "int2@3"]
    assert sorted(port.partition("@")[0] for card in "012" for port in shown["n0", card]) == [
        "ext0", "ext1", *(f"int{peer}" for peer in range(1, 8))
    ]  # fmt: skip
    assert shown["n1-n7", "0"] == ["ext2@0", "int3@1", "int6@2"]
    assert ["n0-n7", "n0-n7", "28", "25", "Gbps"] in words(text)
    assert len(text.splitlines()) < 100
    assert ["n0-n7", "35-63", "33-61", "35-63", "all", "9"] in words(text)


def test_a_section_has_all_its_rows() -> None:
    rack = Path(__file__).parents[2] / "inventory" / "rack" / "router.yml"
    cables = run("plan", rack, "--section", "cabling").stdout
    assert cables.startswith("Cabling\n")
    assert len(cables.splitlines()) == 3 + 28
    assert "n0:int1 (0000:41:00.2)" in cables
    both = run("plan", rack, "--section", "steering", "--section", "cores").stdout
    assert [line for line in both.splitlines() if line[:1].isalpha()] == ["Cores", "Steering on every internal port"]
    assert ["n0-n7", "63", "61", "63", "all", "9"] in words(both)
    assert ["n0-n7", "02:52:00:0f:00:01", "15"] in words(both)
    assert ["n0-n7", "0-15", "0-15"] in words(run("plan", rack).stdout)


def test_one_server(spec: Path) -> None:
    text = run("plan", spec, "--server", "n2").stdout
    assert "Prediction" not in text
    assert [row[0] for row in words(text.partition("\nCores")[2]) if row and row[0].startswith("n")] == ["n2"] * 8
    assert len(words(text.partition("\nCabling")[2].partition("\n\n")[0])) == 3 + 3
    with pytest.raises(RbopsError) as caught:
        run("plan", spec, "--server", "n9")
    assert caught.value.code == "plan.unknown-server"
    with pytest.raises(RbopsError) as caught:
        run("plan", spec, "--server", "n2", "--format", "json")
    assert caught.value.code == "plan.text-only"


def test_a_device_that_the_hardware_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.yml"
    path.write_text(RB4 + 'hosts: {n1: {ports: {int0: {pci: "0000:09:00.0"}}}}\n')
    text = run("plan", path).stdout
    assert "devices that the hardware does not list  int0 (0000:09:00.0)" in text


def test_explain_names_formula_inputs_constraint_and_section(spec: Path) -> None:
    text = run("explain", spec).stdout
    for word in (
        "2sR/M",
        "M - 1 = 3 peers, 3 internal ports",
        "decided by:",
        "section 3.3",
        "66.4 us",
        "2048 ports",
        "19.9 Gbps",
    ):
        assert word in text


def test_explain_json(spec: Path) -> None:
    tree = json.loads(run("explain", spec, "--format", "json").stdout)
    assert {"choice", "value", "formula", "inputs", "constraint", "section"} == set(tree["choices"][0])
    assert len(tree["disputed"]) == 4
    assert [one["value_bps"] for one in tree["measured"]] == [6_350_000_000, 12_000_000_000]


def test_predict_says_what_the_paper_measured(spec: Path) -> None:
    text = run("predict", spec).stdout
    assert "RB4, 64B" in text
    assert "12.7 Gbps to 19.4 Gbps (6.2: 2R, 2R)" in text


def test_predict_tables_what_ifs(spec: Path) -> None:
    arguments = ("--set", "router.packets=64B,abilene", "--set", "batching.tx_burst=1,16")
    text = run("predict", spec, *arguments).stdout
    assert len([line for line in text.splitlines() if line.startswith(("  64B", "  abilene"))]) == 4
    tree = json.loads(run("predict", spec, *arguments, "--format", "json").stdout)
    assert [one["set"]["batching.tx_burst"] for one in tree["scenarios"]] == ["1", "16", "1", "16"]
    rates = [one["prediction"]["rate_bps"] for one in tree["scenarios"]]
    assert rates[0] < rates[1] < rates[3]


@pytest.mark.parametrize(("kp", "kn", "gbps"), [(1, 1, 1.46), (32, 1, 4.97), (32, 16, 9.77)])
def test_predict_reproduces_table_1(spec: Path, kp: int, kn: int, gbps: float) -> None:
    settings = (
        "--set",
        "router.application=forward",
        "--set",
        f"batching.rx_burst={kp}",
        "--set",
        f"batching.tx_burst={kn}",
    )
    tree = json.loads(run("predict", spec, *settings, "--format", "json").stdout)
    assert tree["prediction"]["per_component"]["cpu"] == pytest.approx(gbps * 1e9, rel=0.02)


def test_predict_with_a_measurement(spec: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"rate": {"size": 64, "rate_pps": 20e6, "limit": "testers"}}))
    made = run("predict", spec, "--calibrate", result, "--format", "json")
    tree = json.loads(made.stdout)
    assert tree["prediction"]["rate_pps"] == pytest.approx(20e6, rel=1e-3)
    assert "testers limited" in made.stderr


def test_plan_says_which_port_is_where_on_which_card(spec: Path) -> None:
    lines = words(run("plan", spec, "--server", "n1").stdout)
    assert ["n1", "0", "2", "x", "10", "Gbps", "ixgbe", "ext1@0", "int3@1"] in lines
    assert ["n1", "1", "2", "x", "10", "Gbps", "ixgbe", "int0@0", "int2@1"] in lines


def test_a_fly_is_cabled_column_by_column(tmp_path: Path) -> None:
    path = tmp_path / "fly.yml"
    path.write_text("router: {external_ports: 64, line_rate: 10Gbps}\nservers: {profile: current}\n")
    short = words(run("plan", path).stdout)
    assert ["n0-n63", "n64-n127", "1024", "1", "Gbps"] in short
    assert sum(line[:1] == ["n0-n63"] and "igb" in line for line in short) == 4
    lines = words(run("plan", path, "--section", "cabling").stdout)
    cables = [line for line in lines if len(line) == 6 and line[4] == "Gbps" and "-" in line[5]]
    assert len(cables) == 3072
    assert {line[5] for line in cables} == {"0-1", "1-2", "0-2"}


def test_predict_with_the_result_of_a_self_test(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n")
    result = Path(__file__).parent.parent / "data" / "selftest.json"
    text = run("predict", path, "--calibrate", result).stdout
    assert "8.40 Mpps of 64B packets" in text
    assert "Calibrated: a packet costs" in text
    table = run("predict", path, "--calibrate", result, "--set", "router.packets=64B,imix").stdout
    assert "8.40" in table


def test_predict_with_a_wrong_key_is_an_error_and_no_traceback(spec: Path) -> None:
    with pytest.raises(RbopsError):
        run("predict", spec, "--set", "router.packet=64B")
    with raises(RbopsError, "predict.unreadable", file="/nowhere.json"):
        run("predict", spec, "--calibrate", "/nowhere.json")


def test_scale_json_has_the_three_configurations() -> None:
    tree = json.loads(run("scale", "--format", "json").stdout)
    assert list(tree["configurations"]) == ["current", "faster", "more_nics"]
    points = {point["ports"]: point for point in tree["configurations"]["current"]}
    assert sorted(points) == [4 << step for step in range(11)]
    assert points[1024] == {
        "ports": 1024, "topology": "fly", "degree": 32, "stages": 2, "port_servers": 1024, "intermediate_servers": 2048,
        "servers": 3072, "internal_link_bps": 625_000_000,
    }  # fmt: skip
    assert set(tree["switched"][0]) == {"ports", "switches", "server_equivalents"}


def test_scale_of_a_spec_and_of_one_configuration(spec: Path) -> None:
    text = run("scale", spec).stdout
    assert all(f"Servers, {name}" in text for name in ("current", "more_nics", "faster", "rb4"))
    text = run("scale", "--configuration", "faster").stdout
    assert "Servers, faster" in text
    assert "No topology" not in text
    spec.write_text(f"{RB4}interconnect: {{topology: mesh}}\n")
    ends = "No topology of rb4 serves 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096 ports."
    assert ends in run("scale", spec).stdout
    assert "Servers, current" not in text
    with pytest.raises(RbopsError) as caught:
        run("scale", "--configuration", "fastr")
    assert (caught.value.code, caught.value.hint) == ("scale.unknown-configuration", "did you mean faster?")


def test_scale_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "fig3.svg"
    run("scale", "--plot", path)
    assert ET.parse(path).getroot().tag.endswith("svg")
    with raises(RbopsError, "scale.plot-format"):
        run("scale", "--plot", tmp_path / "fig3.gif")


@pytest.mark.parametrize(("form", "text"), [("dot", '"n2" -- "n3"'), ("mermaid", "v2 ---"), ("svg", "<svg ")])
def test_graph_of_the_cluster(spec: Path, form: str, text: str) -> None:
    drawn = run("graph", spec, "--format", form).stdout
    assert text in drawn
    if form == "svg":
        ET.fromstring(drawn)


def test_graph_of_a_server(spec: Path) -> None:
    drawn = run("graph", spec, "--server", "n1").stdout
    assert '"ext1 rx 3" -- "CPU 3"' in drawn
    with raises(RbopsError, "plan.unknown-server"):
        run("graph", spec, "--server", "n7")
