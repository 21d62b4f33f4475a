"""Routing tables like the global one, made up: its lengths, and prefixes crowded into allocated blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["bgp_like"]

Array = npt.NDArray[Any]

# Share of each prefix length, per mille, in the global IPv4 table.
_SHARES = {
    8: 0.3,
    9: 0.3,
    10: 0.5,
    11: 1,
    12: 2,
    13: 3,
    14: 6,
    15: 7,
    16: 45,
    17: 25,
    18: 40,
    19: 70,
    20: 75,
    21: 75,
    22: 100,
    23: 90,
    24: 460,
}
_BLOCKS = 24_000


def bgp_like(count: int, ports: list[int], seed: int = 1) -> tuple[Array, Array, Array]:
    """Prefixes, lengths and values of ``count`` routes, one of them the default, to adjacency 1 of ``ports``."""
    random = np.random.default_rng(seed)
    octets = np.array([octet for octet in range(1, 224) if octet != 127])
    blocks = random.choice(octets, _BLOCKS) << 8 | random.integers(0, 256, _BLOCKS)
    weights = random.pareto(1.2, _BLOCKS) + 0.3
    shares = np.array(list(_SHARES.values()))
    keys = np.zeros(0, np.int64)
    while len(keys) < count - 1:
        lengths = random.choice(np.array(list(_SHARES)), count, p=shares / shares.sum())
        crowded = random.choice(blocks, count, p=weights / weights.sum()) << 16 | random.integers(0, 1 << 16, count)
        short = random.choice(octets, count) << 24 | random.integers(0, 1 << 24, count)
        prefixes = np.where(lengths >= 16, crowded, short) & ~((1 << (32 - lengths)) - 1)
        keys = np.unique(np.concatenate([keys, prefixes << 6 | lengths]))
    keys = np.append(random.permutation(keys)[: count - 1], 0)
    values = random.choice(np.array(ports), count) << 16 | 1
    return (keys >> 6).astype(np.uint32), (keys & 63).astype(np.uint8), values.astype(np.uint32)
