"""The cores' parts of a bucket as compiled, beside the model that is read first."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.vlb import paths
from rbops.vlb.shares import Bucket, deal

OFFERED = st.lists(st.lists(st.integers(0, 60_000), min_size=3, max_size=3), min_size=1, max_size=40)


@settings(deadline=None)
@given(OFFERED, st.integers(0, 20_000))
def test_parts_are_dealt_as_by_the_model(ticks: list[list[int]], base: int) -> None:
    """Three cores; each is offered so many bytes in a tick, and takes them."""
    model = [Bucket(base) for _ in range(3)]
    compiled = np.zeros(3, dtype=paths._BUCKET)
    for name in ("refill", "depth", "join", "tokens"):
        compiled[name] = [getattr(bucket, name) for bucket in model]
    compiled["base"] = base
    for tick, offered in enumerate(ticks):
        for at, (bucket, size) in enumerate(zip(model, offered, strict=True)):
            bucket.advance(tick)
            bucket.take(size)
            bucket.offered += size
            paths._put(compiled, at, tick, size)
        deal(model, base, 3, 1)
        paths._deal(compiled, 0, 1, 3)
        for name in ("tokens", "refill", "depth", "join"):
            assert compiled[name].tolist() == [getattr(bucket, name) for bucket in model], (tick, name)
