"""What the modules that a full kernel runs share: a router takes minutes to set up on an emulated processor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fullkernel.tunnel_lab import Lab, built


@pytest.fixture(scope="package")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two servers, hosts and a peer, with nothing of rbops yet, or what the module before has left."""
    with built(tmp_path_factory.mktemp("router")) as made:
        yield made
