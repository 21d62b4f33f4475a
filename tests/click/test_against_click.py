"""rbops beside an installed Click: what Click accepts, rbops accepts, and both make the same flat router of it.

CLICK_PREFIX names the Click (else the one on PATH), CLICK_CONF a folder of configurations, the ``conf`` of Click's
sources.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.cli.click_files import Installed, find_click, text_of
from rbops.click import Options, Report, check
from rbops.click.flatten import FlatRouter

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


def ours(click: Installed, name: str, content: bytes) -> Report:
    return check(text_of(name, content), click.table, Options(library=click.library, package=click.package))


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


def test_what_rbops_rejects_click_rejects(click: Installed) -> None:
    """Mistakes of language and ports; the rules, threads and limits are rbops's own."""
    own = {"rules", "threads", "expansion", "port-numbers"}
    for path in OURS:
        if path.parent.name == "errors" and path.stem not in own:
            assert tool(click, "click", "--quit", path).returncode != 0, path.stem
