"""An installed Click (CLICK_PREFIX, or on PATH) and the element package compiled for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
