"""A lab's verbs take its name or the spec that it was made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbops.cli.app import build
from rbops.cli.lab import lab_name
from rbops.errors import SpecError


def test_a_name_a_spec_and_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "router.yml").write_text("name: rb9\nrouter: {external_ports: 4, line_rate: 10Gbps}\n")
    monkeypatch.chdir(tmp_path)
    assert lab_name("rb4", None) == "rb4"
    assert lab_name("router.yml", None) == "rb9"
    assert lab_name(str(tmp_path / "router.yml"), None) == "rb9"
    assert lab_name("gone.yml", "rb4") == "rb4"
    for gone in ("gone.yml", "specs/gone"):
        with pytest.raises(SpecError):
            lab_name(gone, None)


def test_labs_are_listed_whatever_their_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbops.lab.names.STATE", tmp_path / "labs")
    assert CliRunner().invoke(build(), ["lab", "list"]).stdout == "There are no labs on this machine.\n"
    (tmp_path / "labs" / "rb4").mkdir(parents=True)
    done = CliRunner().invoke(build(), ["lab", "list", "--format", "json"])
    (lab,) = json.loads(done.stdout)["labs"]
    assert (lab["name"], lab["state"], lab["servers"]) == ("rb4", "unknown", None)
    text = CliRunner().invoke(build(), ["lab", "list"]).stdout
    assert ["rb4", "-", "unknown", "-", str(tmp_path / "labs" / "rb4" / "inventory.yml")] in map(
        str.split, text.splitlines()
    )
