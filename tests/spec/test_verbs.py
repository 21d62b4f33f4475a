"""``init``, ``check`` and ``schema`` as a person runs them: what is written where, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from rbops.cli import spec as verbs
from rbops.cli.app import build
from rbops.errors import UsageError
from rbops.planner import load_plan
from rbops.spec.starter import PRESETS

ERRORS = Path(__file__).parent / "errors"


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    verbs.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def checked(*arguments: str | Path) -> Result:
    """``check`` in the whole application, whose outermost frame says what is wrong."""
    return CliRunner().invoke(build(), ["check", *map(str, arguments)])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_starter_can_be_planned_and_names_its_servers(tmp_path: Path, preset: str) -> None:
    made = run("init", tmp_path / "new/router", "--preset", preset)
    assert made.exit_code == 0
    assert f"next: rbops check {tmp_path}/new/router/router.yml" in made.stderr
    folder = tmp_path / "new/router"
    inventory = yaml.safe_load((folder / "inventory/hosts.yml").read_text())
    plan = load_plan(folder / "router.yml")
    assert [server.name for server in plan.servers] == list(inventory["all"]["children"]["rbops_servers"]["hosts"])
    assert json.loads((folder / "router.schema.json").read_text())["$defs"]
    assert (folder / "router.yml").read_text().startswith("# yaml-language-server: $schema=router.schema.json\n")


@pytest.mark.parametrize("name", ["router.yml", "inventory/hosts.yml", "router.schema.json"])
def test_init_writes_over_nothing(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("theirs")
    result = run("init", tmp_path)
    assert isinstance(result.exception, UsageError)
    assert str(theirs) in str(result.exception)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("link", ["router.yml", "inventory", "inventory/hosts.yml", "."])
def test_init_follows_no_link(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    if link != ".":
        (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside if link in {".", "inventory"} else outside / "file")
    result = run("init", folder)
    assert isinstance(result.exception, UsageError)
    assert "symbolic link" in str(result.exception)
    assert list(outside.iterdir()) == []


def test_init_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(run("init", tmp_path / "file").exception, UsageError)
    assert isinstance(run("init", tmp_path / "file/below").exception, UsageError)


def test_check_says_in_one_line_what_it_read(tmp_path: Path) -> None:
    run("init", tmp_path)
    result = run("check", tmp_path / "router.yml")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("rb4: 4 external ports at 10 Gbps, 4 servers, mesh, direct-vlb, xdp, 13 routes")
    assert result.stderr.count("\n") == 1


def test_check_names_file_line_and_column_first() -> None:
    path = ERRORS / "units.yml"
    result = checked(path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"{path}:3:14: ")
    assert result.stderr.endswith("4 errors\n")


def test_check_as_json() -> None:
    path = ERRORS / "units.yml"
    result = checked(path, "--format", "json")
    assert result.exit_code == 2
    report = json.loads(result.stdout)
    assert report["schema_version"] == 1
    assert len(report["errors"]) == 4
    first = report["errors"][0]
    assert (first["path"], first["line"], first["column"]) == (str(path), 3, 14)
    assert first["hint"] == "did you mean 10Gbps?"


def test_check_as_json_without_errors(tmp_path: Path) -> None:
    run("init", tmp_path)
    result = run("check", tmp_path / "router.yml", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"schema_version": 1, "errors": [], "warnings": []})


def test_check_finds_what_only_the_planner_knows(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text("router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: nehalm}\n")
    result = checked(path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{path}:2:20: ")


def test_schema() -> None:
    assert json.loads(run("schema").stdout)["title"] == "rbops spec"
    assert json.loads(run("schema", "--for", "hardware").stdout)["title"] == "rbops hardware"
