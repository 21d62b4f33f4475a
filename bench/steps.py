"""What each step of the data plane costs: the router beside builds of it that leave one step out.

The builds are the shipped sources with a line or two replaced, run in turn with the whole program in the bench of
bench/dataplane.py: one core, random destinations, veths. What a build without a step is faster by is the step's cost,
in ns and in cycles of the nominal clock. Steps overlap in a modern core, so costs do not add up to the whole.

    bench/steps.py --routes 262144 --rounds 15

Needs root and clang. A build that is to be measured must forward every frame: a step's result is replaced by one that
leads somewhere, never by a drop. `--json` for programs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.dataplane import Bench, bench
from bench.routes import bgp_like
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.libbpf import Program, xdp_attach
from rbops.dataplane.xdp.loader import DataPlane
from rbops.dataplane.xdp.netdev import find_device
from rbops.node.schema.fields import Fields
from rbops.resources import bpf_object

WHOLE = "whole"


@dataclass(frozen=True)
class Step:
    """``what`` it does; ``changes``: (file, text, instead), each text once in its file."""

    what: str
    changes: tuple[tuple[str, str, str], ...]


ROUTER = "router.bpf.c"
STEPS = {
    "parse": Step(
        "lengths, version, checksum, martians, the router's own addresses as source",
        (
            (ROUTER, "verdict = check_ip(ip, frame.size - ETH_HLEN);", "verdict = FORWARD;"),
            (ROUTER, "if (unlikely(is_own(frame.gen, bpf_ntohl(ip->source))))", "if (0)"),
        ),
    ),
    "lookup": Step(
        "longest-prefix match",
        (
            (
                ROUTER,
                "number = fib_find(frame->gen, frame->place, bpf_ntohl(ip->destination));",
                "number = 1 + (bpf_ntohl(ip->destination) & 1);",
            ),
        ),
    ),
    "flowlet": Step(
        "the flow's hash, and the flowlet table",
        (
            (
                ROUTER,
                "\thash = flow_hash(ip, end);\n\tif (kind != PUNT_REMOTE)",
                "\thash = 0;\n\tif (kind != PUNT_REMOTE)",
            ),
            ("vlb.h", "\tif (!gen->flowlet_ticks)\n", "\tif (1)\n"),
        ),
    ),
    "VLB": Step(
        "the choice of a path, flowlets with it: always direct",
        (
            (
                ROUTER,
                "\thash = flow_hash(ip, end);\n\tif (kind != PUNT_REMOTE)",
                "\thash = 0;\n\tif (kind != PUNT_REMOTE)",
            ),
            (
                ROUTER,
                "chosen = choose_path(frame->gen, frame->core, frame->place, dest, frame->tick, frame->size, hash);",
                "chosen = path_over(dest, frame->gen->link[dest & (MAX_SERVERS - 1)]);\n\t(void)hash;",
            ),
        ),
    ),
    "buckets": Step(
        "what the link and the direct quota are charged",
        ((ROUTER, "\tcharge(frame->gen, frame->core, link, via, dest, frame->size);\n", ""),),
    ),
    "counters": Step(
        "packets and bytes of ports and paths",
        (
            (ROUTER, "\tpath->packets++;\n\tpath->bytes += frame->size;\n", "\t(void)path;\n"),
            (
                ROUTER,
                "\ttraffic->received.packets++;\n\ttraffic->received.bytes += frame->size;\n\tif",
                "\t(void)traffic;\n\tif",
            ),
            (ROUTER, "traffic->sent.packets++;\n\ttraffic->sent.bytes += frame->size;", "(void)traffic;"),
        ),
    ),
    "sampling": Step(
        "the countdown to the next sample for sFlow, which is off",
        ((ROUTER, "if (unlikely(!--frame.core->skip))", "if (0)"),),
    ),
    "rewrite": Step(
        "both MAC addresses, TTL and checksum",
        (
            (
                ROUTER,
                "\tframe->mac[0] = mac | source << 48;\n\t*(__u32 *)(frame->mac + 1) = source >> 16;\n",
                "\t(void)mac;\n\t(void)source;\n",
            ),
            ("check.h", "\tip->checksum = sum + (sum >= 0xffff);\n\tip->ttl--;\n", "\t(void)sum;\n"),
        ),
    ),
}


def without(step: Step, sources: Path, folder: Path) -> Path:
    """The program without a step, compiled in ``folder``; RuntimeError where its text is not there once."""
    shutil.copytree(sources, folder, ignore=shutil.ignore_patterns("obj", "*.py", "controller"))
    for name, text, instead in step.changes:
        path = folder / name
        content = path.read_text()
        if content.count(text) != 1:
            raise RuntimeError(f"{name} has {content.count(text)} times, expected once: {text!r}")
        path.write_text(content.replace(text, instead))
    compile_one(folder / ROUTER, folder / "router.bpf.o")
    return folder / "router.bpf.o"


def loaded(made: Bench, name: str, program: Path, blob: bytes) -> DataPlane:
    """A build on maps of its own; its program for external ports is then among ``made.programs``."""
    fib = Path(made.config["fib"])
    fib.write_bytes(blob)
    config = {**made.config, "object": str(program), "fib_sha256": hashlib.sha256(blob).hexdigest()}
    config["object_sha256"] = hashlib.sha256(program.read_bytes()).hexdigest()
    pins = made.folder / "bpf" / re.sub(r"\W", "", name)
    plane = DataPlane(
        XdpConfig.parse(Fields("dataplane", config)), {port["name"]: port["name"] for port in config["ports"]}, pins
    )
    plane.apply()
    made.programs[name] = Program.pinned(pins / "live" / "external")
    return plane


def measure(made: Bench, routes: int, rounds: int, steps: list[str]) -> dict[str, list[float]]:
    """Frames a second of each build, by round; RuntimeError where one does not forward what it gets."""
    blob = compile_fib(*bgp_like(routes, [1, 2, 3]))
    shipped = bpf_object("dataplane/xdp", "router.bpf.o")
    builds = {WHOLE: shipped}
    for number, name in enumerate(steps):
        builds[name] = without(STEPS[name], shipped.parent.parent, made.folder / f"without-{number}")
    planes = [loaded(made, name, program, blob) for name, program in builds.items()]
    port = find_device("ext0", "ext0").ifindex
    rates: dict[str, list[float]] = {name: [] for name in ("redirect", *builds)}
    for at in range(rounds):
        for name in list(rates)[:: 1 if at % 2 else -1]:
            xdp_attach(port, made.programs[name])
            before = made.at_sink()
            rates[name].append(made.rate(made.at_sink))
            through = made.at_sink() - before
            if through < 0.95 * made.frames:
                raise RuntimeError(f"without {name}: {through} of {made.frames} frames were forwarded")
    for plane in reversed(planes):
        plane.detach()
    return rates


def nominal_ghz() -> float:
    """The clock that /proc/cpuinfo names, GHz; 0 where it has none."""
    text = Path("/proc/cpuinfo").read_text()
    named = re.search(r"model name.*@ ([0-9.]+)GHz", text)
    running = re.search(r"cpu MHz\s*: ([0-9.]+)", text)
    return float(named[1]) if named else float(running[1]) / 1000 if running else 0.0


def figures(rates: dict[str, list[float]], ghz: float) -> dict[str, dict[str, float]]:
    """By build: Mpps; and what is saved beside the whole program of the same round, ns and cycles, medians."""
    found = {}
    for name, values in rates.items():
        saved = [1e9 / whole - 1e9 / rate for whole, rate in zip(rates[WHOLE], values, strict=True)]
        ns = statistics.median(saved)
        found[name] = {
            "mpps": round(statistics.median(values) / 1e6, 2),
            "saved_ns": round(ns, 1),
            "saved_cycles": round(ns * ghz),
        }
    whole = statistics.median(1e9 / rate for rate in rates[WHOLE])
    found[WHOLE] |= {"ns": round(whole, 1), "cycles": round(whole * ghz)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--routes", type=int, default=1 << 18)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=200_000, help="per rate")
    parser.add_argument("--step", action="append", choices=tuple(STEPS), help="these alone")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with bench(arguments.frames, 10_000_000_000) as made:
        rates = measure(made, arguments.routes, arguments.rounds, arguments.step or list(STEPS))
    ghz = nominal_ghz()
    found = figures(rates, ghz)
    if arguments.json:
        print(json.dumps({"schema_version": 1, "routes": arguments.routes, "ghz": ghz, "builds": found}))
        return
    whole = found[WHOLE]
    print(f"the whole program: {whole['mpps']} Mpps, {whole['ns']} ns, {whole['cycles']} cycles a packet at {ghz} GHz")
    print(f"a bare redirect: {found['redirect']['mpps']} Mpps, {found['redirect']['saved_ns']} ns less")
    for name in (name for name in found if name not in (WHOLE, "redirect")):
        row, what = found[name], STEPS[name].what
        print(f"without {name}: {row['mpps']} Mpps, {row['saved_ns']} ns, {row['saved_cycles']} cycles: {what}")


if __name__ == "__main__":
    main()
