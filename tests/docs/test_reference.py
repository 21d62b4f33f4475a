"""The generated reference: it is what the programs say today, and every man reader takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.reference.__main__ import pages
from scripts.reference.error_codes import found
from scripts.reference.meanings import MEANINGS
from scripts.reference.model import Option
from scripts.reference.roff import ManPage
from scripts.reference.schema import sections

DOCS = Path(__file__).parents[2] / "docs"
MAN = sorted((DOCS / "man").iterdir())


def test_the_generated_pages_are_current() -> None:
    stale = [name for name, text in pages().items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"
    assert {path.name for path in MAN} == {Path(name).name for name in pages() if name.startswith("man/")}


def groff(text: str) -> str:
    """The page as plain text; groff says nothing about it."""
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-c", "-P-bou"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("page", MAN, ids=lambda page: page.name)
def test_groff_reads_a_page_without_a_warning(page: Path) -> None:
    assert "SEE ALSO" in groff(page.read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", MAN, ids=lambda page: page.name)
def test_mandoc_finds_nothing_but_the_missing_date(page: Path) -> None:
    # Without a date the page is the same from every build of a version.
    command = ["mandoc", "-T", "lint", "-W", "warning", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_what_roff_would_take_for_a_request_or_an_escape_is_text() -> None:
    page = ManPage("x", 1, "0").heading("A").line("'tis .so").code(".sp 3\na\\nb")
    shown = groff(page.options([Option("-e, --x", "`.y` -z")]).render())
    for text in ("'tis .so", ".sp 3", "a\\nb", "-e, --x", ".y -z"):
        assert text in shown


def test_every_section_and_key_of_the_spec_is_in_the_man_page() -> None:
    found = {section.path: {key.name for key in section.keys} for section in sections()}
    assert {"", "router", "servers.hardware.nics[].devices[]", "ports[].neighbors[]", "hosts.NAME"} <= set(found)
    assert {"external_ports", "line_rate"} <= found["router"]
    required = {key.name for section in sections() if section.path == "router" for key in section.keys if key.required}
    assert required == {"external_ports", "line_rate"}


def test_an_error_code_has_one_form_and_one_exit_code() -> None:
    codes: dict[str, set[int]] = {}
    for place in found():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*", place.code), place
        codes.setdefault(place.code, set()).update({place.exit_code} - {None})  # type: ignore[arg-type]
    assert {code: exits for code, exits in codes.items() if len(exits) > 1} == {}


def test_codes_in_troubleshooting_are_raised_somewhere() -> None:
    areas = {place.code.partition(".")[0] for place in found()}
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    named = {word for word in re.findall(r"`([a-z-]+\.[a-z-]+)`", text) if word.partition(".")[0] in areas}
    assert named <= {place.code for place in found()}


def test_meanings_are_of_codes_whose_messages_come_from_elsewhere() -> None:
    texts: dict[str, bool] = {}
    for place in found():
        texts[place.code] = texts.get(place.code, False) or bool(place.message)
    assert {code for code in MEANINGS if texts.get(code, True)} == set()
