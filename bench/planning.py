"""How long planning takes, against the budgets of the design: ``python bench/planning.py``.

Each line runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

CASES = (
    (32, "lab", "mesh of 32", 1.0),
    (128, "more_nics", "mesh of 128", 8.0),
    (1024, "current", "fly of 3,072", 10.0),
)


def main() -> None:
    print(f"{'plan':14} {'check':>7} {'plan':>7} {'digest':>7} {'total':>7} {'budget':>7} {'memory':>9}")
    for ports, profile, name, budget in CASES:
        done = subprocess.run(
            [sys.executable, __file__, str(ports), profile], check=True, capture_output=True, text=True, timeout=120
        )
        times = [float(word) for word in done.stdout.split()]
        total, memory = sum(times[:3]), times[3]
        parts = " ".join(f"{part:6.2f}s" for part in (*times[:3], total, budget))
        print(f"{name:14} {parts} {memory:6.0f} MB {'ok' if total <= budget else 'OVER BUDGET'}")


def measure(ports: int, profile: str) -> None:
    from rbops.planner import plan_spec
    from rbops.spec import load_spec

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spec.yml"
        path.write_text(f"router: {{external_ports: {ports}, line_rate: 10Gbps}}\nservers: {{profile: {profile}}}\n")
        marks = [time.perf_counter()]
        spec = load_spec(path)
        marks.append(time.perf_counter())
        plan = plan_spec(spec)
        marks.append(time.perf_counter())
        plan.digest  # noqa: B018  computing it is what is measured
        marks.append(time.perf_counter())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(*(after - before for before, after in pairwise(marks)), memory)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), sys.argv[2])
    else:
        main()
