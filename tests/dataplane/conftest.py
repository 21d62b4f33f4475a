"""Routers for the tests: one per test, or one for a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane.router import Router, build_router, own_bpffs, own_namespace


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    """Makes the test's Router: ``make_router(servers=4, routes=[...], clock=False, routing="vlb")``."""
    with own_namespace(), own_bpffs(tmp_path):
        made: list[Router] = []

        def make(servers: int = 4, routes: list[tuple[int, int, int]] | None = None, **changes: Any) -> Router:
            made.append(build_router(tmp_path, servers, routes or [], **changes))
            return made[-1]

        yield make
        for router in made:
            router.plane.detach()


@pytest.fixture(scope="module")
def shared_router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One Router for a module whose tests look at differences only."""
    folder = tmp_path_factory.mktemp("router")
    with own_namespace(), own_bpffs(folder):
        router = build_router(folder, 4, [])
        yield router
        router.plane.detach()
