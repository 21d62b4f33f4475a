"""The bench of all data planes: its search and its table, without packets."""

from __future__ import annotations

import pytest

from bench import planes
from bench.planes import Rate, highest, table_of


class _Path:
    """Carries ``capacity`` packets a second of what is sent; ``flat_out`` is what the cores send when they may."""

    def __init__(self, capacity: float, flat_out: float, *, inline: bool) -> None:
        self.capacity, self.flat_out, self.inline, self.delivered = capacity, flat_out, inline, 0

    def send(self, pps: float | None, seconds: float) -> tuple[int, float]:
        offered = (self.capacity if self.inline else self.flat_out) if pps is None else pps
        self.delivered += round(min(offered, self.capacity) * seconds)
        return round(offered * seconds), seconds


@pytest.mark.parametrize("inline", [True, False])
def test_the_highest_rate_with_little_loss_is_found(monkeypatch: pytest.MonkeyPatch, *, inline: bool) -> None:
    """Flat out where senders are held up by what forwards; by bisection where frames are dropped in between."""
    monkeypatch.setattr(planes, "QUIET_S", 0.0)
    path = _Path(300_000, 2_000_000, inline=inline)
    found = highest(path, lambda: path.delivered)
    assert found == pytest.approx(300_000, rel=0.02)


def test_the_table_has_a_row_for_each_way_and_says_what_is_missing() -> None:
    rates = [Rate("redirect", 1, size, 4e6) for size in (64, 1518)] + [Rate("xdp", 1, size, 3e6) for size in (64, 1518)]
    rates += [Rate("click", 1, size, None, "no Click") for size in (64, 1518)]
    lines = table_of(rates).splitlines()
    assert lines[2:] == [
        "| redirect | 1 | 4.000 | 4.000 | 1.000 |",
        "| xdp | 1 | 3.000 | 3.000 | 0.750 |",
        "| click | 1 | no Click |  | - |",
    ]
