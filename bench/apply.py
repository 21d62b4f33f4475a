"""The push at scale: apply, apply again, verify, status and diff of labs of several sizes, with the phases apart.

Run as root as ``python bench/apply.py [SERVERS ...]`` (by default 4, 8, 16 and 24): each is a lab of that many
servers, a full mesh on this machine. Wall time is the whole command's, as a user waits for it. CPU time is apart: this
machine's for the command with Ansible and ssh, and the servers' own (their cgroup); in a lab both share the
processors, with real servers only the first is this machine's. Phases are the steps of the run's journal.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rbops.lab.cgroup import lab_cgroup

SIZES = (4, 8, 16, 24)
BUDGET_S = {
    4: {"apply": 10, "apply again": 5, "status": 3},
    16: {"apply": 40, "apply again": 10, "verify": 60, "status": 3},
}
SPEC = """\
name: {name}
router: {{external_ports: {servers}, line_rate: 1Gbps}}
servers: {{profile: lab}}
"""
RBOPS = str(Path(sys.executable).with_name("rbops"))


def main() -> int:
    parser = argparse.ArgumentParser(description="measure apply, verify, status and diff on labs")
    parser.add_argument(
        "servers", nargs="*", type=int, help=f"how many servers a lab has ({', '.join(map(str, SIZES))})"
    )
    sizes = parser.parse_args().servers or list(SIZES)
    with tempfile.TemporaryDirectory(prefix="rbops-bench-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        for servers in sizes:
            measure(Path(folder), servers)
    return 0


def measure(folder: Path, servers: int) -> None:
    name = f"rbb{servers}"
    spec = folder / f"{name}.yml"
    spec.write_text(SPEC.format(name=name, servers=servers), encoding="utf-8")
    load = os.getloadavg()[0]
    print(f"{servers:2} servers           wall s   budget   cpu here   cpu servers   load {load:.0f}", flush=True)
    inventory = timed(name, servers, "lab up", "lab", "up", str(spec)).strip().splitlines()[-1]
    try:
        where = (str(spec), "-i", inventory)
        for title in ("apply", "apply again"):
            timed(name, servers, title, "apply", *where)
            phases(folder / "rbops" / "runs")
        for verb in ("verify", "status", "diff"):
            timed(name, servers, verb, verb, *where)
    finally:
        subprocess.run([RBOPS, "lab", "down", str(spec)], check=True, capture_output=True)


def timed(lab: str, servers: int, title: str, *words: str) -> str:
    """Run a verb; its stdout."""
    here, there, began = cpu_here(), cpu_servers(lab), time.monotonic()
    done = subprocess.run([RBOPS, *words], capture_output=True, text=True, check=False)
    wall = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"rbops {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    budget = BUDGET_S.get(servers, {}).get(title)
    said = f"{budget:6}" if budget else "     -"
    print(
        f"  {title:18} {wall:8.1f}   {said}   {cpu_here() - here:8.1f}   {cpu_servers(lab) - there:11.1f}", flush=True
    )
    return done.stdout


def phases(runs: Path) -> None:
    """Print the seconds between the steps of the newest run."""
    newest = max(runs.iterdir())
    lines = (newest / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    steps = [(event["step"], event["time_s"]) for event in events if event["event"] == "step"]
    ends = [*(time_s for _, time_s in steps[1:]), (newest / "result.json").stat().st_mtime]
    for (step, began), end in zip(steps, ends, strict=True):
        print(f"    {step:34} {end - began:8.1f}", flush=True)


def cpu_here() -> float:
    """Seconds of CPU time of the commands that have ended, with their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_servers(lab: str) -> float:
    """Seconds of CPU time of the lab's servers."""
    try:
        text = (lab_cgroup(lab).path / "cpu.stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


if __name__ == "__main__":
    sys.exit(main())
