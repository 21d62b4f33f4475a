"""A plugin of pytest: writes how each test ended, a line each, for the page of faults.

``pytest -p tests.faults.record``; the file is that of the environment variable ``RBOPS_FAULTS_RECORD``. With
``RBOPS_FAULTS_MORE`` the tests that passed according to it are left out.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

__all__ = ["passed", "pytest_collection_modifyitems", "pytest_runtest_logreport"]


_SHOWN = 6000
_fixtures: dict[str, float] = {}
_GROUP = re.compile(r"@[^@\]]*$")


def passed(record: Path) -> frozenset[str]:
    """The ids of the tests whose last line says that they passed."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    last = {nodeid: outcome for nodeid, outcome, *_ in map(json.loads, lines)}
    return frozenset(nodeid for nodeid, outcome in last.items() if outcome == "passed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed, where more is to be added to a record."""
    if not os.environ.get("RBOPS_FAULTS_MORE"):
        return
    done = passed(Path(os.environ["RBOPS_FAULTS_RECORD"]))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for a test: its id, outcome, seconds with its fixtures, how many faults it injected, what was wrong."""
    if os.environ.get("PYTEST_XDIST_WORKER"):  # the controller hears of it too
        return
    if report.when == "setup":
        _fixtures[report.nodeid] = report.duration
    if report.when != "call" and report.passed:
        return
    faults = dict(report.user_properties).get("faults", 1)
    # pytest-xdist adds a test's group to its id.
    seconds = report.duration + (_fixtures.pop(report.nodeid, 0) if report.when == "call" else 0)
    line = [_GROUP.sub("", report.nodeid), report.outcome, round(seconds, 1), faults]
    if report.failed:
        line.append(report.longreprtext[-_SHOWN:])
    with Path(os.environ["RBOPS_FAULTS_RECORD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
