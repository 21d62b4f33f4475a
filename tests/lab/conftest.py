from __future__ import annotations

import pytest

from rbops.lab.model import Lab
from tests.lab.plans import mesh
from tests.support.lab import MakeLab, make_lab

__all__ = ["lab", "make_lab"]


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """Two servers with two queues a port where the machine has two cores."""
    return make_lab(mesh(2, cores=(0, 1)), "rbt-shared")
