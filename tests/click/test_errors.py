"""A configuration beside the exact text of what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.click import CheckOptions, ClickText, bundled, check
from rbops.report.click_check import violation

FOLDER = Path(__file__).with_name("errors")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.click")))
def test_errors(name: str, golden: Callable[[Path, str], None]) -> None:
    text = (FOLDER / f"{name}.click").read_text(encoding="utf-8")
    driver = "userlevel" if name == "kernel-only" else None
    report = check(ClickText(f"{name}.click", text), bundled(), CheckOptions(driver=driver))
    found = [*report.errors, *(violation(breach, ("rule1",)) for breach in report.breaches), *report.notes]
    assert found
    golden(FOLDER / f"{name}.txt", "".join(f"{item.render()}\n" for item in found))
