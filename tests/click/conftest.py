"""An installed Click (CLICK_PREFIX, or on PATH), the element package compiled for it, and rbops's own checker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.click import ClickText, Options, Report, bundled, check
from rbops.dataplane.click.build import Click, build, find

SOURCES = Path(__file__).parent.parent.parent / "rbops" / "dataplane" / "click"


@pytest.fixture(scope="session")
def installed() -> Click:
    """Only for tests with the marker click."""
    return find(os.environ.get("CLICK_PREFIX"))


@pytest.fixture(scope="session")
def package(installed: Click, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled elements: Click's CLICKPATH."""
    base = tmp_path_factory.mktemp("package")
    assert build(installed, SOURCES, base).changed
    return base


@pytest.fixture(scope="session")
def checked() -> Callable[..., Report]:
    """Check a text with rbops's table: ``checked(text, threads=2)``."""
    table = bundled()

    def run(text: str, **options: object) -> Report:
        return check(ClickText("test.click", text), table, Options(**options))  # type: ignore[arg-type]

    return run
