"""rbops's own checker; the installed Click and the element package are in tests/conftest.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rbops.click import CheckOptions, ClickText, Report, bundled, check


@pytest.fixture(scope="session")
def checked() -> Callable[..., Report]:
    """Check a text with rbops's table: ``checked(text, threads=2)``."""
    table = bundled()

    def run(text: str, **options: object) -> Report:
        return check(ClickText("test.click", text), table, CheckOptions(**options))  # type: ignore[arg-type]

    return run
