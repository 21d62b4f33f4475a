"""What a PCIe slot carries, from its generation and lanes (PCI Express Base Specification; line codes included)."""

from __future__ import annotations

__all__ = ["PCIE_SHARE", "slot_bps"]

PCIE_SHARE = 0.8
"""What protocol headers leave: the paper's 12.8 of 16 Gbps for eight lanes of PCIe 1.1 (4.1)."""


def slot_bps(generation: int, lanes: int) -> int:
    """Bits per second per direction; KeyError for a generation that does not exist.

    >>> slot_bps(1, 8)
    16000000000
    """
    gigatransfers = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0, 7: 128.0}[generation]
    code = 8 / 10 if generation <= 2 else 128 / 130 if generation <= 5 else 242 / 256  # noqa: PLR2004
    return round(lanes * gigatransfers * 1e9 * code)
