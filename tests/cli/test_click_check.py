"""``rbops click-check`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_app import rbops

GOOD = "FromDevice(eth0) -> Counter -> Queue -> ToDevice(eth1);\n"
TWO = "f :: FromDevice(eth0) -> Queue -> t :: ToDevice(eth1);\nStaticThreadSched(f 0, t 1);\n"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return rbops("click-check", *arguments, CLICK_PREFIX="", CLICKPATH="", **environment)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "good.click").write_text(GOOD)
    (tmp_path / "two.click").write_text(TWO)
    (tmp_path / "bad.click").write_text("FromDevice(eth0) -> ToDevice(eth1)\n")
    return tmp_path


def test_a_good_configuration(write: Path) -> None:
    done = run(str(write / "good.click"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 elements, 3 connections" in done.stdout
    assert "rule1 holds" in done.stdout
    assert "rule2 holds" in done.stdout


def test_a_mistake_has_its_place_and_ends_with_1(write: Path) -> None:
    done = run(str(write / "bad.click"))
    assert done.returncode == 1
    first, *_, last = done.stderr.splitlines()
    assert first.startswith(f"{write}/bad.click:1:1: push output 0 of 'FromDevice@1' is connected to pull input")
    assert last == "1 error"


def test_a_broken_rule_ends_with_1_unless_it_is_allowed(write: Path) -> None:
    done = run(str(write / "two.click"))
    assert done.returncode == 1
    assert "rule2: packets change their core at 'Queue@2'" in done.stderr
    assert "rule2 is broken: 1 time, at worst 64.7% of the rate" in done.stdout
    done = run(str(write / "two.click"), "--allow", "rule2")
    assert done.returncode == 0
    assert "rule2, allowed: packets change" in done.stderr
    assert "broken, as allowed" in done.stdout


def test_json(write: Path) -> None:
    done = run(str(write / "two.click"), "--format", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["schema_version"], told["ok"]) == (1, False)
    (file,) = told["files"]
    (violation,) = file["violations"]
    assert (violation["rule"], violation["line"], violation["elements"]) == ("rule2", 1, ["Queue@2"])
    assert (violation["allowed"], violation["predicted_loss"], violation["threads"]) == (False, 0.647, [0, 1])
    assert file["threads"][1]["sends"] == [{"device": "eth1", "queue": 0}]
    done = run(str(write / "bad.click"), "--format", "json")
    (file,) = json.loads(done.stdout)["files"]
    assert [(error["line"], error["column"]) for error in file["errors"]] == [(1, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.click"], "No such file"),
        (["binary.click"], "is no text"),
        (["archive.click"], "is an archive"),
        (["good.click", "--prefix", "nowhere"], "no Click at nowhere"),
        (["good.click", "--allow", "rule3"], "there is no such rule"),
        (["good.click", "--define", "x"], "this is no variable"),
        (["xdp.yml"], "the data plane is xdp"),
        (["."], "Is a directory"),
    ],
)
def test_what_cannot_be_checked_ends_with_2(
    arguments: list[str], message: str, write: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write)
    (write / "binary.click").write_bytes(b"\0\1")
    (write / "archive.click").write_bytes(b"!<arch>\nconfig")
    (write / "xdp.yml").write_text("router: {external_ports: 2, line_rate: 1Gbps}\n")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "hint: " in done.stderr


def test_the_installed_clicks_elements(write: Path) -> None:
    share = write / "opt" / "share" / "click"
    share.mkdir(parents=True)
    entries = '<entry name="FromDevice" portcount="0/1" processing="h/h" flowcode="x/x" />'
    (share / "elementmap.xml").write_text(f'<elementmap drivers="userlevel">{entries}</elementmap>')
    (write / "unheard.click").write_text("FromDevice(eth0) -> Unheard\n")
    done = run(str(write / "unheard.click"), "--prefix", str(write / "opt"))
    assert done.returncode == 1
    assert f"the Click at {write}/opt" in done.stderr
    sink = '<entry name="Sink" portcount="1/0" processing="a/a" flowcode="x/x" />'
    (share / "elementmap-more.xml").write_text(f'<elementmap drivers="userlevel">{sink}</elementmap>')
    (write / "more.click").write_text('require(package "more")\nFromDevice(eth0) -> Sink\n')
    assert run(str(write / "more.click"), "--prefix", str(write / "opt")).returncode == 0


def test_variables_of_the_command_line(write: Path) -> None:
    (write / "var.click").write_text("define($t 0)\nf :: FromDevice(eth0) -> Discard;\nStaticThreadSched(f $t);\n")
    told = json.loads(run(str(write / "var.click"), "-D", "t=1", "--format", "json").stdout)
    assert [thread["elements"] for thread in told["files"][0]["threads"]] == [0, 2]


def test_libraries_lie_beside_the_file_or_on_clickpath(write: Path) -> None:
    (write / "way.click").write_text("elementclass Way { -> Null -> }")
    (write / "user.click").write_text('require(library "way.click")\nInfiniteSource -> Way -> Discard\n')
    assert run(str(write / "user.click")).returncode == 0
    (write / "conf").mkdir()
    (write / "way.click").rename(write / "conf" / "way.click")
    assert run(str(write / "user.click")).returncode == 1
    done = rbops("click-check", str(write / "user.click"), CLICK_PREFIX="", CLICKPATH=str(write))
    assert done.returncode == 0, done.stderr
