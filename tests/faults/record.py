"""A plugin of pytest: writes how each test ended, a line each, for the page of faults.

``pytest -p tests.faults.record``; the file is that of the environment variable ``RBOPS_FAULTS_RECORD``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

__all__ = ["pytest_runtest_logreport"]


_SHOWN = 6000


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for a test: its id, outcome, seconds, how many faults it injected, and what was wrong."""
    if report.when != "call" and report.passed:
        return
    faults = dict(report.user_properties).get("faults", 1)
    line = [report.nodeid, report.outcome, round(report.duration, 1), faults]
    if report.failed:
        line.append(report.longreprtext[-_SHOWN:])
    with Path(os.environ["RBOPS_FAULTS_RECORD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
