from __future__ import annotations

import pytest

from rbops.plan import ClusterPlan
from tests.render.rb4 import mesh


@pytest.fixture
def rb4() -> ClusterPlan:
    return mesh(4)
