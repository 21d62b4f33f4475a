"""What plan and render take of time and memory, against the design's budgets: ``python bench/planning.py [NAME...]``.

Each line is one run of the program in a process of its own, its start included. ``wall``, ``cpu`` and ``memory`` are
what this machine gave it while others used it too; ``loops`` is the CPU time in calibration loops, run before and after
it, and ``budget`` the design's seconds in the same measure, so that neither a slow machine nor a busy one decides.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.calibration import PYTHON_REFERENCE_S, python_loop

MESH_OF_256 = (
    "{sockets: 1, cores_per_socket: 8, clock: 3GHz, nics: ["
    "{driver: ixgbe, ports: 2, port_rate: 10Gbps, queues: 32}"
    + ", {driver: igb, ports: 8, port_rate: 1Gbps, queues: 8}" * 32
    + "]}"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A router, and what each form of its plan may take: seconds and megabytes."""

    name: str
    ports: int
    servers: str
    forms: tuple[str, ...] = ("json", "text")
    seconds: float = 10.0
    megabytes: int = 1024


CASES = (
    Case("mesh of 32", 32, "profile: lab", ("json", "text", "render"), 1.0),
    Case("mesh of 128", 128, "profile: more_nics", ("json", "text", "render"), 8.0),
    Case("mesh of 256", 256, f"hardware: {MESH_OF_256}"),
    Case("current", 1024, "profile: current"),
    Case("more_nics", 1024, "profile: more_nics"),
    Case("faster", 1024, "profile: faster"),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run took."""

    wall_s: float
    cpu_s: float
    megabytes: float
    loops: float


def main(names: list[str]) -> int:
    head = f"{'ports':>6} {'wall':>7} {'cpu':>7} {'loops':>6} {'budget':>7} {'memory':>8}"
    print(f"{'router':12} {'form':7} {head}")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if names and case.name not in names:
                continue
            spec = Path(folder) / f"{case.name.replace(' ', '-')}.yml"
            router = f"{{external_ports: {case.ports}, line_rate: 10Gbps}}"
            spec.write_text(f"name: bench\nrouter: {router}\nservers: {{{case.servers}}}\n")
            for form in case.forms:
                taken = run(spec, form)
                budget = case.seconds / PYTHON_REFERENCE_S
                within = taken.loops <= budget and taken.megabytes <= case.megabytes
                good &= within
                figures = f"{taken.wall_s:6.2f}s {taken.cpu_s:6.2f}s {taken.loops:6.0f} {budget:7.0f}"
                verdict = "ok" if within else "OVER BUDGET"
                print(
                    f"{case.name:12} {form:7} {case.ports:6} {figures} {taken.megabytes:5.0f} MB {verdict}", flush=True
                )
    return 0 if good else 1


def run(spec: Path, form: str) -> Taken:
    """The verb for ``form`` on ``spec``, its output thrown away."""
    verb = ["render", spec, "-o", spec.with_suffix(".d")] if form == "render" else ["plan", spec, "--format", form]
    program = "from rbops.cli.app import main; main()"
    before, start = python_loop(), time.perf_counter()
    command = [sys.executable, "-c", program, *map(str, verb)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall, after = time.perf_counter() - start, python_loop()
    if child.returncode:
        raise SystemExit(f"{form} of {spec.name}: exit {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Taken(wall, cpu, usage.ru_maxrss / 1024, cpu / ((before + after) / 2))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
