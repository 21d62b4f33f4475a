"""Look-ups a second, of the router's own code without anything around it.

    bench/lookups.py [--routes 1000000] [--ipv6 200000] [--cores 1] [--json]

262,144 addresses that the routes lead to, in random order and each as often as the others, by tables with the length
distributions of the global ones. What a loop without look-ups takes is taken off. In processor time of each thread,
so that other work on the machine matters little, but for what it does to the caches. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.routes import bgp_like
from bench.routes6 import bgp_like6
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.libbpf import Map, Object, Program

TARGETS = 1 << 18
_ARRAY, _MMAPABLE = 2, 1 << 10


def targets4(table: tuple[Any, ...], seed: int = 3) -> bytes:
    """Addresses that routes lead to, as the program takes them."""
    random = np.random.default_rng(seed)
    prefixes, lengths, _ = table
    chosen = random.integers(0, len(prefixes), TARGETS)
    hosts = random.integers(0, 1 << 32, TARGETS, dtype=np.uint64) >> lengths[chosen].astype(np.uint64)
    return ((prefixes[chosen].astype(np.uint64) | hosts) << np.uint64(32)).astype("<u8").tobytes()


def loaded(folder: Path, blob: bytes) -> tuple[Object, Map]:
    """The programs on that table."""
    fib = shape.read_fib(blob, "table")
    compile_one(Path(__file__).with_name("lookup.bpf.c"), folder / "lookup.bpf.o")
    body = -(-(len(fib.body) + 4096) // (1 << 18)) * (1 << 18)
    generation = 1 << (shape.GENERATION_SIZE + body - 1).bit_length()
    obj = Object(folder / "lookup.bpf.o")
    numbers = {"generation_bytes": generation, "body_bytes": body, "core_bytes": 64, "cpus": 1, "servers": 1}
    for name, number in numbers.items():
        obj.set_variable(name, number.to_bytes(4, "little"))
    arena = Map.create("bench_arena", _ARRAY, key_size=4, value_size=2 * generation, entries=1, flags=_MMAPABLE)
    obj.reuse(".data.arena", arena)
    obj.load()
    memory = arena.memory()
    memory[20:28] = (fib.width - 1).to_bytes(4, "little") + ((1 << 8 * fib.width) - 1).to_bytes(4, "little")
    memory[shape.ROOT6_AT : shape.ROOT6_AT + 4] = fib.root6.to_bytes(4, "little")
    memory[shape.GENERATION_SIZE : shape.GENERATION_SIZE + len(fib.body)] = bytes(fib.body)
    return obj, obj.map("targets")


def timed(program: Program, cores: list[int]) -> float:
    """Nanoseconds of processor time for a step of the program, all cores at once; the mean of the cores."""
    took: list[float] = []

    def run(core: int) -> None:
        os.sched_setaffinity(0, {core})
        began = time.thread_time()
        program.call()
        took.append((time.thread_time() - began) / TARGETS * 1e9)

    threads = [threading.Thread(target=run, args=(core,)) for core in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.mean(took)


def measure(obj: Object, places: Map, wanted: dict[str, bytes], cores: list[int], rounds: int) -> dict[str, Any]:
    """Medians of rounds in turn."""
    memory = places.memory()
    programs = {name: obj.program(name) for name in ("none", *wanted)}
    found: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(rounds):
        for name, raw in wanted.items():
            memory[: len(raw)] = raw
            base = timed(programs["none"], cores)
            found[name].append(timed(programs[name], cores) - base)
    figures = {}
    for name, values in found.items():
        ns = statistics.median(values)
        figures[name] = {"ns": round(ns, 1), "millions_a_second": round(len(cores) * 1e3 / ns, 1)}
    return figures


def main() -> None:
    """Print a line a family, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--ipv6", type=int, default=200_000, metavar="ROUTES")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = bgp_like(options.routes, [1, 2, 3, 4])
    routes6, targets6 = bgp_like6(options.ipv6, [1, 2, 3, 4], TARGETS)
    blob = compile_fib(*table, routes6)
    # As numbers, and not as a packet has them.
    targets = {"ipv4": targets4(table), "ipv6": np.frombuffer(targets6, ">u8").astype("<u8").tobytes()}
    cores = sorted(os.sched_getaffinity(0))[-options.cores :]
    with tempfile.TemporaryDirectory() as folder:
        obj, places = loaded(Path(folder), blob)
        with obj:
            figures = measure(obj, places, targets, cores, options.rounds)
    head = {"routes": options.routes, "ipv6_routes": options.ipv6, "table_bytes": len(blob), "cores": len(cores)}
    if options.json:
        print(json.dumps({"schema_version": 1, **head, **figures}))
        return
    print(f"{options.routes} IPv4 and {options.ipv6} IPv6 routes, {len(blob)} bytes, {len(cores)} cores")
    for name, row in figures.items():
        print(f"{name}: {row['ns']} ns, {row['millions_a_second']} million look-ups a second")


if __name__ == "__main__":
    main()
