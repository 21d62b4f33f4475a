"""Packet-size distributions. Rates count the packet's own bytes, not preamble and gap (paper 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rbops.capture import Capture

__all__ = ["PacketMix", "capture_mix", "mix"]

_FCS = 4
_SMALLEST = 64


@dataclass(frozen=True, slots=True)
class PacketMix:
    """``shares`` are (bytes, part of all packets), the parts adding up to 1."""

    name: str
    shares: tuple[tuple[int, float], ...]

    @property
    def mean_bytes(self) -> float:
        """The mean packet."""
        return sum(size * share for size, share in self.shares)

    def pps(self, bps: float) -> float:
        """Packets per second at ``bps``."""
        return bps / (8 * self.mean_bytes)

    def bps(self, pps: float) -> float:
        """Bits per second at ``pps``."""
        return pps * 8 * self.mean_bytes


def mix(packets: int | str) -> PacketMix:
    """A fixed size, ``imix`` or ``abilene``. KeyError for another name.

    ``imix`` is the simple IMIX, 7:4:1 of 64, 594 and 1518 bytes. ``abilene`` has the three peaks of
    the Abilene-I trace (acknowledgements, 576-byte and full packets) and a mean of 720 bytes; it is
    like the trace, not the trace.
    """
    if isinstance(packets, int):
        return PacketMix(f"{packets}B", ((packets, 1.0),))
    named = {
        "imix": PacketMix("imix", ((64, 7 / 12), (594, 4 / 12), (1518, 1 / 12))),
        "abilene": PacketMix("abilene", ((64, 0.40), (256, 0.08), (576, 0.10), (1024, 0.04), (1514, 0.38))),
    }
    return named[packets]


def capture_mix(capture: Capture, name: str) -> PacketMix:
    """The distribution of a capture's frame sizes, with FCS, 64 at least; ``name`` is the file's."""
    sizes, counts = np.unique(np.maximum(_SMALLEST, capture.size + _FCS), return_counts=True)
    shares = counts / counts.sum()
    return PacketMix(name, tuple(zip(sizes.tolist(), shares.tolist(), strict=True)))
