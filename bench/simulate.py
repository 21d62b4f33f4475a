"""Packets a second that the VLB simulator works through, one core, 4-node mesh: at least 5 million, all matrices.

Run as ``python bench/simulate.py [PACKETS]``. Making the traffic is not counted. One line a case, the median of five
runs, each between two calibration loops: ``measured`` is what this machine did while others used it too, ``on the
reference`` the same against the loops around it, which is what the target is for.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.calibration import NUMPY_REFERENCE_S, numpy_loop
from rbops.predict.packets import mix
from rbops.vlb.matrix import NAMES, make
from rbops.vlb.network import Network, mesh
from rbops.vlb.simulator import simulate
from rbops.vlb.trace import Trace, Workload, synthetic

R = 10_000_000_000
TARGET = 5e6
RUNS = 5


def main() -> int:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    network = mesh(4, line_rate_bps=R, link_bps=R)
    slowest = float("inf")
    print(f"{'':21} {'measured':>10} {'on the reference':>18}   million packets a second")
    for sizes in ("abilene", 64):
        for name in NAMES:
            trace = synthetic(make(name, network.owners, R), R, packets, Workload(mix=mix(sizes).shares))
            runs = [run(network, trace) for _ in range(RUNS)]
            measured = trace.packets / statistics.median(seconds for seconds, _ in runs)
            rate = trace.packets / statistics.median(seconds / slower for seconds, slower in runs)
            slowest = min(slowest, rate)
            print(f"{sizes!s:8} {name:12} {measured / 1e6:10.2f} {rate / 1e6:18.2f}", flush=True)
    print(f"direct-vlb with flowlets, the slowest of these: {slowest / TARGET:.2f} of the 5 million wanted")
    return 0 if slowest >= TARGET else 1


def run(network: Network, trace: Trace) -> tuple[float, float]:
    """CPU seconds of a run, and how many times longer than on the reference the loops around it took."""
    before = numpy_loop()
    start = time.thread_time()
    simulate(network, trace)
    seconds = time.thread_time() - start
    return seconds, (before + numpy_loop()) / 2 / NUMPY_REFERENCE_S


if __name__ == "__main__":
    sys.exit(main())
