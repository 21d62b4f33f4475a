"""How long check, plan and render take, against the budgets of the design: ``python bench/planning.py``.

Each line runs in a process of its own, so that its memory is its own; imports count too. ``wall`` is what
the budget is for, ``cpu`` the same without what other programs on the machine took.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """A router, and what it may take: seconds, and megabytes (None: no budget)."""

    name: str
    ports: int
    profile: str
    render: bool
    seconds: float
    megabytes: int | None = None


CASES = (
    Case("mesh of 32, 496 cables", 32, "lab", render=True, seconds=1.0),
    Case("mesh of 128, 8,128 cables", 128, "more_nics", render=True, seconds=8.0),
    Case("1,024 ports, fly of 3,072", 1024, "current", render=False, seconds=10.0, megabytes=1024),
)


def main() -> int:
    print(f"{'':26} {'check':>7} {'plan':>7} {'render':>7} {'wall':>7} {'cpu':>7} {'budget':>7} {'memory':>8}")
    good = True
    for case in CASES:
        command = [sys.executable, __file__, str(case.ports), case.profile, str(int(case.render))]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        *parts, cpu, memory = (float(word) for word in done.stdout.split())
        wall = sum(parts)
        times = " ".join(f"{part:6.2f}s" for part in (*parts, wall, cpu, case.seconds))
        within = wall <= case.seconds and (case.megabytes is None or memory <= case.megabytes)
        good &= within
        print(f"{case.name:26} {times} {memory:5.0f} MB {'ok' if within else 'OVER BUDGET'}")
    return 0 if good else 1


def measure(ports: int, profile: str, *, render: bool) -> None:
    """Print the seconds of check, plan and render, the CPU seconds of all three, and megabytes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spec.yml"
        path.write_text(f"router: {{external_ports: {ports}, line_rate: 10Gbps}}\nservers: {{profile: {profile}}}\n")
        marks, start = [time.perf_counter()], time.process_time()
        from rbops.planner import plan_spec
        from rbops.spec import load_spec

        spec = load_spec(path)
        marks.append(time.perf_counter())
        plan = plan_spec(spec)
        plan.digest  # noqa: B018  every user of a plan wants it
        marks.append(time.perf_counter())
        if render:
            from rbops.render import render as rendered
            from rbops.render import write

            write(rendered(plan), Path(directory) / "out")
        marks.append(time.perf_counter())
        cpu = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(*(after - before for before, after in pairwise(marks)), cpu, memory)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), sys.argv[2], render=bool(int(sys.argv[3])))
    else:
        sys.exit(main())
