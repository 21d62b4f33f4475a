"""The instrument against delays that are known: latency of a lab's router, with a cable that waits so long.

    python bench/latency.py SPEC [MILLISECONDS ...]     as root; the spec's lab is up and applied

For each delay the time that frames did wait, as the bad cable counted it, beside what the self-test found more than
without the delay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rbops.deploy.inventory import load_inventory
from rbops.lab.cables.ends import find_ends
from rbops.lab.cables.impair import Impairment, Impairments
from rbops.lab.providers import load
from rbops.planner import load_plan
from rbops.selftest.latency import LatencyPoint
from rbops.selftest.options import SelftestOptions
from rbops.selftest.run import run_selftest


def main(spec: str, *delays_ms: str) -> None:
    """Print a line for each delay."""
    plan = load_plan(Path(spec))
    lab = load(plan.name)
    testers = load_inventory([str(lab.inventory)]).testers

    def measured() -> LatencyPoint:
        return run_selftest(plan, testers, None, SelftestOptions(size=512, phases=("latency",))).latencies[0]

    plain = measured()
    alone = plain.floor.percentiles_s[0]
    print(f"{plain.way}, without: p50 {plain.found.percentiles_s[0] * 1e6:.1f} us, testers alone {alone * 1e6:.1f} us")
    ends = find_ends(lab.manifest, [f"n{server}" for server in range(len(lab.servers))])
    external = [end for end in ends if end.peer.startswith("t")]
    for delay in delays_ms or ("1", "2", "5"):
        with Impairments(lab.manifest, external, Impairment(delay_s=float(delay) / 1e3), ("in",)) as bad:
            found = measured()
        waits = [one.delay_s[0] for one in bad.measured() if one.delay_s]
        waited, more = sum(waits) / len(waits), found.found.mean_s - plain.found.mean_s
        waited *= 2 if found.way == "round trip" else 1  # each way
        print(f"{delay} ms: waited {waited * 1e3:.3f} ms, found {more * 1e3:.3f} ms more ({more / waited - 1:+.2%})")


if __name__ == "__main__":
    main(*sys.argv[1:])
