"""What the paper says of RB4 (section 6.2): measured in 2009, its latency estimated there. Rates count whole frames."""

from __future__ import annotations

__all__ = ["ABILENE_BPS", "LATENCY_S", "REORDERED", "REORDERED_ALONE", "SMALLEST_BPS"]

SMALLEST_BPS = 12.0e9
"""With packets of 64 bytes."""

ABILENE_BPS = 35.0e9
"""With the packets of the Abilene trace."""

REORDERED, REORDERED_ALONE = 0.0015, 0.055
"""Reordered sequences by the paper's metric: with flowlets, and by Direct VLB alone."""

LATENCY_S = 47.6e-6, 66.4e-6
"""Two servers and three; the second does not follow from the paper's own terms (3 x 23.8 is 71.5)."""
