"""Keys and values under their former names: read as today's, with a warning at their place."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from rbops.cli.app import build
from rbops.errors import Diagnostic, SpecError
from rbops.spec import Spec, load_spec
from rbops.spec.renamed import KEYS, VALUES
from rbops.spec.schema import spec_schema

FORMER = """\
router: {external_ports: 4, line_rate: 10Gbps, allow: [rule2, shared-queues], fragment: own.click}
batching:
  nic: 8
  poll: 4
dataplane: click
"""
TODAY = """\
router: {external_ports: 4, line_rate: 10Gbps, allow: [cross-core, shared-queues], click_element: own.click}
batching:
  tx_burst: 8
  rx_burst: 4
dataplane: click
"""


@pytest.fixture(autouse=True)
def element(tmp_path: Path) -> None:
    (tmp_path / "own.click").write_text("input -> output")


def read(tmp_path: Path, text: str, **overrides: str) -> Spec:
    path = tmp_path / "router.yml"
    path.write_text(text)
    return load_spec(path, overrides)


def places(warnings: tuple[Diagnostic, ...]) -> list[tuple[str, str, int, int]]:
    return [(one.code, one.field, one.line, one.column) for one in warnings]


def test_former_names_are_read_and_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rbops"):
        spec = read(tmp_path, FORMER)
    assert spec == read(tmp_path, TODAY)
    assert places(spec.deprecated) == [
        ("spec.deprecated", "router.allow[0]", 1, 56),
        ("spec.deprecated", "router.fragment", 1, 79),
        ("spec.deprecated", "batching.nic", 3, 3),
        ("spec.deprecated", "batching.poll", 4, 3),
    ]
    assert [one.hint for one in spec.deprecated] == [
        "write cross-core", "write click_element", "write tx_burst", "write rx_burst"
    ]  # fmt: skip
    assert len(caplog.messages) == 4
    assert f"{tmp_path}/router.yml:3:3: " in caplog.messages[2]


def test_todays_names_warn_of_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, TODAY).deprecated == ()


@pytest.mark.parametrize("text", ["{poll: 4, rx_burst: 8}", "{rx_burst: 8, poll: 4}"])
def test_both_names_are_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, f"router: {{external_ports: 4, line_rate: 10Gbps}}\nbatching: {text}\n")
    (error,) = caught.value.diagnostics
    assert (error.code, error.field, error.line) == ("spec.duplicate", "batching.poll", 2)


@pytest.mark.parametrize("text", ["{poll: , rx_burst: 8}", "{rx_burst: , poll: 8}"])
def test_a_name_without_a_value_is_not_given(tmp_path: Path, text: str) -> None:
    spec = read(tmp_path, f"router: {{external_ports: 4, line_rate: 10Gbps}}\nbatching: {text}\n")
    assert spec.batching.rx_burst == 8


def test_an_override_by_the_former_name_replaces_what_the_file_says(tmp_path: Path) -> None:
    spec = read(tmp_path, TODAY, **{"batching.poll": "16", "router.allow": "[rule1]"})
    assert (spec.batching.rx_burst, spec.router.allow) == (16, ("shared-queues",))
    assert sorted(one.path for one in spec.deprecated) == ["--set batching.poll", "--set router.allow"]


def test_check_writes_the_warnings(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text("router: {external_ports: 4, line_rate: 10Gbps, allow: [rule1]}\n")
    done = CliRunner().invoke(build(), ["check", str(path), "--format", "json"])
    assert done.exit_code == 0
    assert f"{path}:1:56: warning: " in done.stderr
    assert done.stderr.count("warning: ") == 1
    (warning,) = json.loads(done.stdout)["warnings"]
    assert (warning["code"], warning["line"], warning["column"]) == ("spec.deprecated", 1, 56)


def test_editors_strike_the_former_names_out() -> None:
    schema = spec_schema()
    validator = Draft202012Validator(schema)
    for (section, old), new in KEYS.items():
        keys = schema["$defs"][section.capitalize()]["properties"]
        assert keys[old]["deprecated"]
        assert new in keys
    router = {"external_ports": 4, "line_rate": "10Gbps"}
    for names in VALUES.values():
        assert not list(validator.iter_errors({"router": {**router, "allow": [*names, *names.values()]}}))
    assert list(validator.iter_errors({"router": {**router, "allow": ["rule3"]}}))
