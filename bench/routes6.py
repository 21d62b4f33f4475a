"""IPv6 routing tables like the global one, made up: its lengths, and prefixes crowded into allocated blocks."""

from __future__ import annotations

import numpy as np

__all__ = ["bgp_like6"]

# Share of each prefix length, per mille, in the global IPv6 table.
_SHARES = {
    20: 1,
    24: 2,
    28: 5,
    29: 40,
    30: 5,
    31: 2,
    32: 120,
    33: 15,
    34: 15,
    35: 10,
    36: 50,
    38: 10,
    40: 90,
    42: 15,
    44: 90,
    45: 10,
    46: 25,
    47: 25,
    48: 465,
    56: 3,
    64: 2,
}
_TOPS = [0x2001, 0x2620, 0x2803, 0x2804, 0x2806, 0x2C0F]
_TOPS += [*range(0x2400, 0x240F), *range(0x2600, 0x2608), *range(0x2A00, 0x2A15)]
_BLOCKS = 30_000


def bgp_like6(count: int, ports: list[int], targets: int, seed: int = 1) -> tuple[list[tuple[int, int, int]], bytes]:
    """(network, length, value) of ``count`` routes to adjacency 1 of ``ports``, and the first halves of ``targets``
    addresses that they lead to, as a packet has them.
    """
    random = np.random.default_rng(seed)
    # /32s, most of them in few of the 16-bit blocks, as registries gave them out.
    weights = random.pareto(1.0, len(_TOPS)) + 0.2
    blocks = random.choice(np.array(_TOPS), _BLOCKS, p=weights / weights.sum()) << 16 | random.integers(
        0, 1 << 16, _BLOCKS
    )
    crowd = random.pareto(1.2, _BLOCKS) + 0.3
    shares = np.array(list(_SHARES.values()))
    found: dict[tuple[int, int], None] = {}
    while len(found) < count:
        lengths = random.choice(np.array(list(_SHARES)), count, p=shares / shares.sum())
        heads = random.choice(blocks, count, p=crowd / crowd.sum()).astype(np.uint64)
        high = heads << np.uint64(32) | random.integers(0, 1 << 32, count, dtype=np.uint64)
        kept = high >> (np.uint64(64) - lengths.astype(np.uint64)) << (np.uint64(64) - lengths.astype(np.uint64))
        found |= dict.fromkeys(zip(kept.tolist(), lengths.tolist(), strict=True))
    keys = list(found)[:count]
    values = (random.choice(np.array(ports), count) << 16 | 1).tolist()
    chosen = random.integers(0, count, targets)
    noise = random.integers(0, 1 << 63, targets, dtype=np.uint64).tolist()
    inside = [keys[at][0] | bits >> keys[at][1] for at, bits in zip(chosen.tolist(), noise, strict=True)]
    routes = [(high << 64, length, value) for (high, length), value in zip(keys, values, strict=True)]
    return routes, np.array(inside, ">u8").tobytes()
