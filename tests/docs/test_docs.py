"""README.md and docs/ against the code: commands, links, spec snippets, and tables that repeat what code says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from rbops import errors, hardware
from rbops.cli.app import build
from rbops.dataplane.xdp import layout
from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.loader import FLOWLET_ENTRIES
from rbops.deploy.apply import REVERT_TIMEOUT_S
from rbops.nic.kinds import Number
from rbops.nic.settings import ROWS, NicSettings
from rbops.node import arguments as node
from rbops.planner import plan_spec
from rbops.predict.reference import disputed
from rbops.selftest.result import Kind
from rbops.spec import load_spec
from rbops.spec.nic import NicTuning
from rbops.spec.schema import spec_schema
from rbops.spec.starter import PRESETS
from rbops.vlb import model
from tests.support.esp import GCM, key_file

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "inventory/README.md", ROOT / "roles/README.md"])
SECTION = re.compile(r"^#+ ")


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of a page: ``words`` without the program, up to what the shell does with it."""

    where: str
    words: tuple[str, ...]


def code(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each piece of code: a line of a block, or what stands between backticks."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield number, line.strip()
        for span in re.findall(r"`([^`]+)`", line) if not fenced else ():
            yield number, span


def commands(program: str) -> list[Command]:
    """Every command line of ``program`` in the pages, those with a placeholder for the verb left out."""
    start = re.compile(rf"(?:^|^[$#] |\$\(|&& |')(?:\.venv/bin/)?{re.escape(program)} (?=[a-z])(.*)")
    found = []
    for page in PAGES:
        for number, text in code(page):
            match = start.search(text)
            if match:
                # Up to a pipe, the remote command, or what is said beside it.
                line = re.split(r" -- |[|;>)]| && |\s{3,}", match[1])[0]
                line = line.rstrip("'") if line.count("'") % 2 else line
                found.append(Command(f"{page.name}:{number}", tuple(shlex.split(line))))
    return found


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its own header left out."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if SECTION.match(line) and line.lstrip("# ") == heading)
    rows: list[list[str]] = []
    for line in lines[start + 1 :]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows or SECTION.match(line):
            break
    return rows[2:]


def names(page: str, heading: str) -> list[str]:
    """What stands between backticks in the first column of a table."""
    return [name for row in table(page, heading) for name in re.findall(r"`([^`]+)`", row[0])]


def options_of(command: Any) -> set[str]:
    spelled = {name for param in command.params for name in (*param.opts, *param.secondary_opts) if name[0] == "-"}
    return spelled | {"-h", "--help"}


def check_options(command: Command, known: set[str]) -> None:
    for word in command.words:
        if re.match(r"-{1,2}[A-Za-z]", word):
            assert word.split("=")[0] in known, f"{command.where}: there is no option {word}"


@cache
def application() -> Any:
    """The command line's root, made once: every command of the pages asks it."""
    return typer.main.get_command(build())


ALL = commands("rbops")


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 30
    assert {command.words[0] for command in ALL} >= {"plan", "apply", "verify", "selftest", "lab", "init"}


@pytest.mark.parametrize("command", ALL, ids=lambda command: f"{command.where} {command.words[0]}")
def test_a_command_names_a_verb_and_options_there_are(command: Command) -> None:
    found = application()
    known = options_of(found)
    for word in command.words:
        if not hasattr(found, "commands"):
            break
        assert word in found.commands, f"{command.where}: rbops has no verb {word}"
        found = found.commands[word]
        known |= options_of(found)
    check_options(command, known)


def test_options_named_in_the_text_are_somebodys() -> None:
    known = {"--become", "--enable-dpdk", "--enable-ipsec", "--privileged"}  # of Ansible, Click's configure, Docker
    todo: list[Any] = [application(), *verbs_of_the_node_program().values()]
    while todo:
        command = todo.pop()
        known |= options_of(command) if hasattr(command, "params") else set(command._option_string_actions)
        todo += getattr(command, "commands", {}).values()
    for page in sorted(DOCS.glob("*.md")):
        for number, text in code(page):
            if text.startswith("bench/"):
                continue  # a benchmark has options of its own
            for option in re.findall(r"(?:^|\s)(--[a-z][a-z0-9-]+)", text):
                assert option in known, f"{page.name}:{number}: nobody has an option {option}"


def verbs_of_the_node_program() -> dict[str, Any]:
    parser: Any = node.parser()
    return dict(next(action for action in parser._actions if action.dest == "verb").choices)


def test_commands_of_the_node_program() -> None:
    verbs = verbs_of_the_node_program()
    for command in commands("rbops-node"):
        assert command.words[0] in verbs, f"{command.where}: rbops-node has no verb {command.words[0]}"
        check_options(command, set(verbs[command.words[0]]._option_string_actions))
    assert set(names("apply.md", "rbops-node")) == set(verbs)


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    titles = [
        line.lstrip("# ").strip() for line in page.read_text(encoding="utf-8").splitlines() if SECTION.match(line)
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.exists(), f"{page.name}: {target} leads nowhere"
        assert not anchor or anchor in anchors(other), f"{page.name}: {target}: there is no such heading"


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found += [(f"{page.name}-{at}", block) for at, block in enumerate(blocks) if re.search(r"(?m)^router:", block)]
    return found


@pytest.mark.parametrize("text", [text for _, text in snippets()], ids=[name for name, _ in snippets()])
def test_spec_snippets_can_be_planned(text: str, tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text(text, encoding="utf-8")
    keys = tmp_path / "peer.keys"
    keys.touch(0o600)
    # With the kernel's tunnels a word has AES's key and a salt.
    clicks = "dataplane: click" in text
    keys.write_text(key_file(("0" * 32, "1" * 32) if clicks else GCM), encoding="ascii")
    password = tmp_path / "peer0.password"
    password.touch(0o600)
    password.write_text("x\n", encoding="ascii")
    assert plan_spec(load_spec(path)).servers


def test_the_spec_page_has_snippets() -> None:
    assert len(snippets()) > 1


def test_every_key_of_the_spec_is_explained() -> None:
    explained = {word for _, text in code(DOCS / "spec.md") for word in re.findall(r"[a-z0-9_]+", text)}
    schema = spec_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}
    assert len(keys) > 60
    assert keys <= explained


def limit(kind: Number) -> str:
    """The largest value as people write it."""
    if kind.unit is None:
        return f"{kind.low} to {kind.high}"
    return f"up to {kind.high // 1000}ms" if kind.unit == "us" else f"up to {kind.high // 10**9}s"


def test_every_nic_setting_has_its_row() -> None:
    """With the tool and the option, or the file, by which it is set, and its limits."""
    rows = {name: row[2] for row in table("spec.md", "`nic`") for name in re.findall(r"`([^`]+)`", row[0])}
    computed = {field.name for field in fields(NicTuning)} - {field.name for field in fields(NicSettings)}
    assert list(rows) == [*(row.key for row in ROWS), *(name for name in rows if name in computed)]
    assert computed <= rows.keys()
    for row in ROWS:
        names = row.parameters or ("",)
        first = f"`{names[0]}`" if row.tool.write is None else f"`ethtool {row.tool.write} {names[0]}".strip()
        assert first in rows[row.key], f"{row.key}: where it is set"
        assert all(name in rows[row.key] for name in names), f"{row.key}: {names}"
        if isinstance(row.kind, Number):
            assert limit(row.kind) in rows[row.key] or "likewise" in rows[row.key], f"{row.key}: its limits"
            assert ("`keep`" in rows[row.key] or "likewise" in rows[row.key]) is row.kind.keep, f"{row.key}: keep"


def test_presets_and_profiles() -> None:
    assert names("spec.md", "Presets") == list(PRESETS)
    text = (DOCS / "spec.md").read_text(encoding="utf-8")
    assert [name for name in hardware.names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("heading", "reasons"),
    [('Given to the kernel ("punted")', PUNTED), ("Dropped", (*layout.DROPPED, "policed_REASON"))],
)
def test_reasons_are_the_data_planes(heading: str, reasons: tuple[str, ...]) -> None:
    assert names("dataplane.md", heading) == list(reasons)


def test_limits_are_the_data_planes() -> None:
    limits = {row[0]: row[1] for row in table("dataplane.md", "Limits")}
    assert limits["servers"] == str(layout.MAX_SERVERS)
    assert limits["external ports of the router"] == str(layout.MAX_PORTS)
    assert limits["ports of one server"] == str(layout.MAX_DEVICES)
    assert limits["neighbours on one server's ports"] == str(layout.MAX_ADJACENCIES)
    assert limits["different next hops in the table"] == str(layout.MAX_NEXT_HOPS - 1)
    assert limits["flowlets that a core remembers"] == str(FLOWLET_ENTRIES) == str(model.FLOWLET_ENTRIES)
    assert limits["flowlet timeout"].startswith(f"1 ms to {layout.MAX_FLOWLET_TICKS // 1000} s")


def test_exit_codes_are_those_of_the_errors() -> None:
    classes = [getattr(errors, name) for name in errors.__all__]
    codes = {kind.exit_code for kind in classes if isinstance(kind, type) and issubclass(kind, errors.RbopsError)}
    assert [int(row[0]) for row in table("apply.md", "Exit codes")] == sorted({0, *codes})


def test_the_revert_timeout_is_the_default() -> None:
    assert f"{REVERT_TIMEOUT_S} s (`--revert-timeout`)" in (DOCS / "apply.md").read_text(encoding="utf-8")


def test_every_check_of_verify_is_listed() -> None:
    listed, subject = set(), ""
    for row in table("verify-selftest.md", "verify"):
        subject = row[0].strip("`") or subject
        listed.add((subject, row[1].strip("`")))
    files = (ROOT / "rbops").rglob("checks/test_*.py")
    there = {
        (path.stem.removeprefix("test_"), name)
        for path in files
        for name in re.findall(r"^def test_(\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert listed == there


def test_every_kind_of_fault_is_listed() -> None:
    listed = [kind for row in table("verify-selftest.md", "Faults") for kind in row[0].split(", ")]
    assert sorted(listed) == sorted(get_args(Kind))


def test_the_papers_table_is_what_the_code_gives() -> None:
    done = subprocess.run(
        [sys.executable, "bench/paper_table.py"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("| what |")
    shown = (DOCS / "planning.md").read_text(encoding="utf-8")
    assert done.stdout in shown, "put the output of bench/paper_table.py into docs/planning.md"


def test_every_disputed_number_is_explained() -> None:
    rows = table("planning.md", "Four numbers that differ")
    assert [row[1].removesuffix(" ports") for row in rows] == [item.paper.removesuffix(" ports") for item in disputed()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_paths_of_a_writers_machine(page: Path) -> None:
    assert re.findall(r"/(?:tmp|work|home)/\S+", page.read_text(encoding="utf-8")) == []


NOT_PLAIN = re.compile(
    r"look-up|keeps? house|wound up|put(?:s|ting)? (?:\w+ ){0,3}back\b|to be had|(?:is|are) told\b|stands? here",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_use_the_fields_terms(page: Path) -> None:
    """Lookup, housekeeping cores, re-arm, roll back or restore, not supported, is set to, are distinguished, is."""
    if page.name != "CHANGELOG.md":
        assert NOT_PLAIN.findall(page.read_text(encoding="utf-8")) == []
