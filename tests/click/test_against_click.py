"""rbops beside an installed Click: what Click accepts, rbops accepts, and both make the same flat router of it.

CLICK_PREFIX names the Click (else the one on PATH), CLICK_CONF a folder of configurations, the ``conf`` of Click's
sources.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbops.click import CheckOptions, Report, check
from rbops.click.flatten import FlatRouter
from rbops.click.graph import Graph
from rbops.click.installed import Installed, find_click, text_of
from rbops.click.threads import homes

pytestmark = pytest.mark.click

HERE = Path(__file__).parent
OURS = sorted([*HERE.glob("language/*.click"), *HERE.glob("errors/*.click")])


def confs() -> list[Path]:
    """Every configuration below CLICK_CONF."""
    named = os.environ.get("CLICK_CONF")
    return sorted(Path(named).rglob("*.click")) if named else []


@pytest.fixture(scope="module")
def click() -> Installed:
    found = find_click(None, look=True)
    if found.prefix is None:
        pytest.skip("the click on PATH has no element map")
    return found


def tool(click: Installed, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert click.prefix is not None
    command = [str(click.prefix / "bin" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=60)


def ours(click: Installed, name: str, content: bytes, threads: int | None = None) -> Report:
    options = CheckOptions(threads=threads, fastclick=click.fastclick, library=click.library, package=click.package)
    return check(text_of(name, content), click.table, options)


def shape(router: FlatRouter) -> Iterator[tuple[object, ...]]:
    """Elements with their arguments, and connections by name, whatever their order."""
    names = [element.name for element in router.elements]
    yield from ((e.name, e.kind, ", ".join(e.arguments)) for e in router.elements)
    yield from ((names[c.source], c.output, names[c.target], c.input) for c in router.connections)


def compare(click: Installed, paths: list[Path]) -> tuple[list[str], list[str], int]:
    """Wrongly rejected, flattened otherwise, and how many Click accepts."""
    rejected, different, accepted = [], [], 0
    for path in paths:
        report = ours(click, str(path), path.read_bytes())
        if tool(click, "click-check", path).returncode != 0:
            continue
        accepted += 1
        # click-check overlooks a push output that is used twice where it only becomes one; click does not.
        if report.errors and "illegal reuse" not in tool(click, "click", "--quit", path).stderr:
            rejected.append("\n".join(error.render() for error in report.errors))
        flat = tool(click, "click-flatten", "--expand-vars", path)
        if flat.returncode == 0 and report.router is not None:
            theirs = ours(click, str(path), flat.stdout.encode()).router
            if theirs is None or set(shape(theirs)) != set(shape(report.router)):
                different.append(str(path))
    return rejected, different, accepted


def test_our_corpus(click: Installed) -> None:
    rejected, different, accepted = compare(click, [path for path in OURS if path.parent.name == "language"])
    assert (rejected, different) == ([], [])
    assert accepted == len(list(HERE.glob("language/*.click")))


@pytest.mark.skipif(not confs(), reason="needs Click's configurations: CLICK_CONF is not set")
def test_configurations_of_click(click: Installed) -> None:
    rejected, different, accepted = compare(click, confs())
    assert (rejected, different) == ([], [])
    assert accepted


WORDS = [
    "->",
    "=>",
    "::",
    "||",
    "...",
    "{",
    "}",
    "(",
    ")",
    "[0]",
    "[]",
    "[1]",
    ",",
    ";",
    "Idle",
    "input",
    "output",
    "x",
    "",
]


@given(st.sampled_from([path.read_text() for path in OURS if path.parent.name == "language"]), st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_changed_configurations(click: Installed, tmp_path: Path, text: str, data: st.DataObject) -> None:
    """A word more, less or other: what Click still takes, rbops takes."""
    words = text.split(" ")
    place = data.draw(st.integers(0, len(words) - 1))
    words[place : place + data.draw(st.integers(0, 2))] = [data.draw(st.sampled_from(WORDS))]
    path = tmp_path / "changed.click"
    path.write_text(" ".join(words))
    if tool(click, "click", "--quit", path).returncode == 0:
        assert [error.render() for error in ours(click, str(path), path.read_bytes()).errors] == []


def test_what_rbops_rejects_click_rejects(click: Installed) -> None:
    """Mistakes of language and ports; the rules, threads and limits are rbops's own."""
    own = {"rules", "threads", "expansion", "port-numbers"}
    for path in OURS:
        if path.parent.name == "errors" and path.stem not in own:
            assert tool(click, "click", "--quit", path).returncode != 0, path.stem


PINNED = """
elementclass Side { $t | s :: InfiniteSource(ACTIVE false) -> Discard; StaticThreadSched(s $t) }
elementclass Two { a :: InfiniteSource(ACTIVE false) -> Discard; b :: { c :: InfiniteSource(ACTIVE false) -> Discard } }
one :: Side(1); two :: Side(2); both :: Two; part :: Two; free :: InfiniteSource(ACTIVE false) -> Discard;
late :: InfiniteSource(ACTIVE false) -> Discard;
StaticThreadSched(both 3, part/b 2, late 1);
StaticThreadSched(late 2);
"""
SOURCES = ["one/s", "two/s", "both/a", "both/b/c", "part/a", "part/b/c", "free", "late"]


def test_threads_are_those_that_click_uses(click: Installed, tmp_path: Path) -> None:
    path = tmp_path / "pinned.click"
    path.write_text(PINNED)
    handlers = [word for name in SOURCES for word in ("-h", f"{name}.home_thread")]
    done = tool(click, "click", "-j", "4", "--quit", *handlers, path)
    if "threads" in done.stderr:
        pytest.skip("this Click was built without threads")
    theirs = [int(number) for number in re.findall(r"^(\d+)$", done.stdout, re.MULTILINE)]
    report = ours(click, str(path), path.read_bytes(), threads=4)
    assert report.router is not None
    graph = Graph.of(report.router, click.table, "userlevel")
    home, _ = homes(graph, "userlevel", 4, fastclick=False)
    names = [element.name for element in report.router.elements]
    assert [home.of(names.index(name))[0] for name in SOURCES] == theirs
