"""Packets a second that the VLB simulator works through, one core, 4-node mesh: at least 5 million.

Run as ``python bench/simulate.py [PACKETS]``. Making the traffic is not counted. One line a case: the best of five.
"""

from __future__ import annotations

import sys
import time

from rbops.predict.packets import mix
from rbops.vlb.matrix import make
from rbops.vlb.network import mesh
from rbops.vlb.simulator import simulate
from rbops.vlb.trace import Workload, synthetic

R = 10_000_000_000
TARGET = 5e6


def main() -> int:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    network = mesh(4, line_rate_bps=R, link_bps=R)
    rates = {}
    for sizes in ("abilene", 64):
        for name in ("uniform", "permutation", "pair"):
            trace = synthetic(make(name, network.owners, R), R, packets, Workload(mix=mix(sizes).shares))
            best = float("inf")
            for _ in range(5):
                start = time.thread_time()
                simulate(network, trace)
                best = min(best, time.thread_time() - start)
            rates[sizes, name] = trace.packets / best
            print(f"{sizes!s:8} {name:12} {rates[sizes, name] / 1e6:6.2f} Mpackets/s")
    reached = rates["abilene", "uniform"]
    print(f"direct-vlb with flowlets, abilene, uniform: {reached / TARGET:.2f} of the 5 Mpackets/s wanted")
    return 0 if reached >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
