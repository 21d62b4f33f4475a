"""``rbops click-check`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rbops.cli.app import build
from rbops.click.lexer import Lexer
from rbops.plan import ClusterPlan
from rbops.render import File, Rendered
from tests.cli.test_app import rbops

GOOD = "FromDevice(eth0) -> Counter -> Queue -> ToDevice(eth1);\n"
TWO = "f :: FromDevice(eth0) -> Queue -> t :: ToDevice(eth1);\nStaticThreadSched(f 0, t 1);\n"


def run(*arguments: str | Path, clickpath: str = "") -> Result:
    environment = {"CLICK_PREFIX": "", "CLICKPATH": clickpath}
    return CliRunner().invoke(build(), ["click-check", *map(str, arguments)], env=environment)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "good.click").write_text(GOOD)
    (tmp_path / "two.click").write_text(TWO)
    (tmp_path / "bad.click").write_text("FromDevice(eth0) -> ToDevice(eth1)\n")
    return tmp_path


def test_a_good_configuration(write: Path) -> None:
    done = rbops("click-check", str(write / "good.click"), CLICK_PREFIX="", CLICKPATH="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 elements, 3 connections" in done.stdout
    assert "rule1 holds" in done.stdout
    assert "rule2 holds" in done.stdout


def test_a_mistake_has_its_place_and_ends_with_1(write: Path) -> None:
    done = run(str(write / "bad.click"))
    assert done.exit_code == 1
    first, *_, last = done.stderr.splitlines()
    assert first.startswith(f"{write}/bad.click:1:1: push output 0 of 'FromDevice@1' is connected to pull input")
    assert last == "1 error"


def test_a_broken_rule_ends_with_1_unless_it_is_allowed(write: Path) -> None:
    done = run(str(write / "two.click"))
    assert done.exit_code == 1
    assert "rule2: packets change their core at 'Queue@2'" in done.stderr
    assert "rule2 is broken: 1 time, at worst 64.7% of the rate" in done.stdout
    assert run(str(write / "two.click"), "--allow", "rule2").exit_code == 0
    done = run(str(write / "two.click"), "--allow", "cross-core")
    assert done.exit_code == 0
    assert "rule2, allowed: packets change" in done.stderr
    assert "broken, as allowed" in done.stdout


def test_several_at_once(write: Path) -> None:
    done = run(*(str(write / name) for name in ("good.click", "bad.click", "two.click")))
    assert done.exit_code == 1
    assert [line for line in done.stderr.splitlines() if line.endswith("errors")] == ["2 errors"]
    assert done.stdout.count("(user level)") == 3


def test_an_installed_fastclick_spreads_its_devices(write: Path) -> None:
    for name, text in {
        "share/click/elementmap.xml": '<elementmap drivers="userlevel">'
        '<entry name="FromDPDKDevice" portcount="0/1" processing="h/h" flowcode="x/x" />'
        '<entry name="Counter" portcount="1/1" processing="a/a" flowcode="x/x" />'
        '<entry name="Discard" portcount="1/0" processing="a/a" flowcode="x/x" /></elementmap>',
        "include/click/batchelement.hh": "",
    }.items():
        (write / "fc" / name).parent.mkdir(parents=True)
        (write / "fc" / name).write_text(text)
    (write / "one.click").write_text("FromDPDKDevice(0) -> Counter -> Discard;\n")
    assert run(str(write / "one.click"), "-j", "2", "--prefix", str(write / "fc")).exit_code == 1
    assert run(str(write / "one.click"), "-j", "2").exit_code == 0


def test_json(write: Path) -> None:
    done = run(str(write / "two.click"), "--format", "json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["schema_version"], told["ok"]) == (1, False)
    (file,) = told["files"]
    assert file["known_from"] == "rbops's table of Click 2.1 and FastClick"
    (violation,) = file["violations"]
    assert (violation["rule"], violation["line"], violation["elements"]) == ("rule2", 1, ["Queue@2"])
    assert (violation["allowed"], violation["predicted_loss"], violation["threads"]) == (False, 0.647, [0, 1])
    assert file["threads"][1]["sends"] == [{"device": "eth1", "queue": 0}]
    done = run(str(write / "bad.click"), "--format", "json")
    (file,) = json.loads(done.stdout)["files"]
    assert [(error["line"], error["column"]) for error in file["errors"]] == [(1, 1)]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["none.click"], "unreadable"),
        (["binary.click"], "binary"),
        (["archive.click"], "archive"),
        (["good.click", "--prefix", "nowhere"], "no-click"),
        (["good.click", "--allow", "rule3"], "unknown-rule"),
        (["good.click", "--define", "x"], "define"),
        (["xdp.yml"], "dataplane"),
        (["."], "unreadable"),
    ],
)
def test_what_cannot_be_checked_ends_with_2(
    arguments: list[str], code: str, write: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write)
    (write / "binary.click").write_bytes(b"\0\1")
    (write / "archive.click").write_bytes(b"!<arch>\nconfig")
    (write / "xdp.yml").write_text("router: {external_ports: 2, line_rate: 1Gbps}\n")
    done = run(*arguments, "--format", "json")
    error = json.loads(done.stdout)["error"]
    assert (done.exit_code, error["code"]) == (2, f"click-check.{code}")
    assert error["hint"]


def test_the_installed_clicks_elements(write: Path) -> None:
    share = write / "opt" / "share" / "click"
    share.mkdir(parents=True)
    entries = '<entry name="FromDevice" portcount="0/1" processing="h/h" flowcode="x/x" />'
    (share / "elementmap.xml").write_text(f'<elementmap drivers="userlevel">{entries}</elementmap>')
    (write / "unheard.click").write_text("FromDevice(eth0) -> Unheard\n")
    done = run(str(write / "unheard.click"), "--prefix", str(write / "opt"))
    assert done.exit_code == 1
    assert f"the Click at {write}/opt" in done.stderr
    sink = '<entry name="Sink" portcount="1/0" processing="a/a" flowcode="x/x" />'
    (share / "elementmap-more.xml").write_text(f'<elementmap drivers="userlevel">{sink}</elementmap>')
    (write / "more.click").write_text('require(package "more")\nFromDevice(eth0) -> Sink\n')
    assert run(str(write / "more.click"), "--prefix", str(write / "opt")).exit_code == 0


def test_variables_of_the_command_line(write: Path) -> None:
    (write / "var.click").write_text("define($t 0)\nf :: FromDevice(eth0) -> Discard;\nStaticThreadSched(f $t);\n")
    told = json.loads(run(str(write / "var.click"), "-D", "t=1", "--format", "json").stdout)
    assert [thread["elements"] for thread in told["files"][0]["threads"]] == [0, 2]


def test_libraries_lie_beside_the_file_or_on_clickpath(write: Path) -> None:
    (write / "way.click").write_text("elementclass Way { -> Null -> }")
    (write / "user.click").write_text('require(library "way.click")\nInfiniteSource -> Way -> Discard\n')
    assert run(str(write / "user.click")).exit_code == 0
    (write / "conf").mkdir()
    (write / "way.click").rename(write / "conf" / "way.click")
    assert run(str(write / "user.click")).exit_code == 1
    done = run(str(write / "user.click"), clickpath=str(write))
    assert done.exit_code == 0, done.stderr


SPEC = """\
name: pair
router: {external_ports: 2, line_rate: 1Gbps, allow: [cross-core]}
servers: {profile: lab}
dataplane: click
"""


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a spec renders to, by file name under /etc/rbops/click: the same on every server."""
    files: dict[str, str] = {}

    def render(plan: ClusterPlan) -> Rendered:
        own = tuple(File(f"/etc/rbops/click/{name}", text.encode()) for name, text in files.items())
        return Rendered(plan.digest, (), (), {server.name: own for server in plan.servers})

    monkeypatch.setattr("rbops.render.render", render)
    return files


def test_a_spec_is_checked_as_it_would_be_pushed(tmp_path: Path, rendered: dict[str, str]) -> None:
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC)
    rendered["router.click"] = f"require(library routes.click);\n{TWO}Idle -> Routes -> Idle;\n"
    rendered["routes.click"] = "elementclass Routes { -> LinearIPLookup(0/0 0) -> }\n"
    done = run(spec, "--format", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [file["path"] for file in told["files"]] == [f"n{i}:/etc/rbops/click/router.click" for i in range(2)]
    assert [[v["allowed"] for v in file["violations"]] for file in told["files"]] == [[True], [True]]
    rendered["router.click"] = "FromDevice(eth0) -> ToDevice(eth1)\n"
    done = run(spec)
    assert done.exit_code == 1
    assert "n0:/etc/rbops/click/router.click:1:1: push output 0" in done.stderr
    rendered.clear()
    assert run(spec).exit_code == 2


def test_what_servers_share_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, and yet a mistake in it carries the name of the server that it is said of."""
    own = (File("/etc/rbops/click/router.click", b"require(library routes.click);\nIdle -> Routes -> Idle;\n"),)
    shared = (File("/etc/rbops/click/routes.click", b"elementclass Routes { -> LinearIPLookup(0/0 0) -> None -> }\n"),)

    def render(plan: ClusterPlan) -> Rendered:
        return Rendered(plan.digest, (), shared, {server.name: own for server in plan.servers})

    scanned: list[int] = []
    piece = Lexer._piece

    def counting(lexer: Lexer, position: int) -> int:
        scanned.append(position)
        return piece(lexer, position)

    monkeypatch.setattr("rbops.render.render", render)
    monkeypatch.setattr(Lexer, "_piece", counting)
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC)
    done = run(spec)
    assert done.exit_code == 1
    assert len(scanned) == len(set(scanned)) == 2  # what stands in require() and in LinearIPLookup()
    assert [line.split(" ")[0] for line in done.stderr.splitlines() if "'None'" in line] == [
        f"n{index}:/etc/rbops/click/routes.click:1:51:" for index in range(2)
    ]


def test_the_fragment_of_a_spec_is_checked_where_it_stands(tmp_path: Path, rendered: dict[str, str]) -> None:
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC.replace("allow: [cross-core]", "click_element: my.click"))
    rendered["router.click"] = "Idle\n"
    (tmp_path / "my.click").write_text("input -> Queue -> Unqueue -> output\n")
    done = run(spec)
    assert done.exit_code == 2
    assert f"{tmp_path}/my.click:1:1: rule2: packets change their core at 'Queue@1'" in done.stderr
    (tmp_path / "my.click").write_text("input -> Counter -> output\n")
    assert run(spec).exit_code == 0


def test_a_rendered_tree_has_its_libraries_in_common(write: Path) -> None:
    folder = write / "out" / "hosts" / "n0" / "etc" / "rbops" / "click"
    folder.mkdir(parents=True)
    (write / "out" / "common").mkdir()
    (write / "out" / "common" / "routes.click").write_text("elementclass Routes { -> Null -> }\n")
    (folder / "router.click").write_text("require(library routes.click);\nIdle -> Routes -> Idle;\n")
    assert run(str(folder / "router.click")).exit_code == 0
