"""Every data plane on the same veth path: what each forwards with one core and with two, by frame size.

    redirect  a program of one redirect, the most that XDP can do here
    xdp       rbops's own program: route + Direct VLB + flowlets
    kernel    the kernel's own forwarding, same routes
    click     Click's socket dialect as rbops renders it, where there is a Click (CLICK_PREFIX, or on PATH); one core
    testpmd   DPDK's testpmd, which only swaps MACs, on packet sockets (net_af_packet), where Debian's dpdk is installed

Every destination is random. The cores that forward also make the frames and count them, so that rates are those of
whole cores with everything on them. The rate is the highest of which at most 1 % is lost: flat out, per second that
the cores gave, or by bisection of what is sent, which needs a quiet machine. Needs root. Writes planes.json, planes.md
and planes.svg into a folder and prints the table; rates say more about the machine than their ratios do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.dataplane import Bench, bench, kernel_routes, spent, with_click
from bench.routes import bgp_like
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.libbpf import Program, xdp_attach, xdp_context, xdp_detach
from rbops.dataplane.xdp.netdev import find_device

WAYS = ("redirect", "xdp", "kernel", "click", "testpmd")
SIZES = (64, 128, 256, 512, 1024, 1518)
LOSS, ROUNDS, STEPS, TRIAL_S, SETTLE_S, QUIET_S = 0.01, 3, 8, 0.3, 0.05, 0.15
FCS, BURST = 4, 32
TESTPMD = "dpdk-testpmd"
START_S = 20.0


@dataclass(frozen=True)
class Rate:
    """Frames a second that came through; None: not measured, ``reason`` says why."""

    way: str
    cores: int
    size: int
    pps: float | None
    reason: str = ""


class Senders:
    """A thread on each of ``cpus`` that sends frames of ``size`` bytes with FCS."""

    def __init__(self, made: Bench, cpus: Sequence[int], size: int) -> None:
        self._made, self._cpus, self._frame = made, cpus, bytes(size - FCS)

    def send(self, pps: float | None, seconds: float) -> tuple[int, float]:
        """Frames sent by all together, at most ``pps`` a second, and the seconds it took: flat out of the cores."""
        with ThreadPoolExecutor(len(self._cpus)) as pool:
            share = None if pps is None else pps / len(self._cpus)
            done = list(pool.map(lambda cpu: self._one(cpu, share, seconds), self._cpus))
        return sum(sent for sent, _ in done), sum(took for _, took in done) / len(done)

    def _one(self, cpu: int, pps: float | None, seconds: float) -> tuple[int, float]:
        os.sched_setaffinity(0, {cpu})
        self._made.spaces.enter("gen")
        context = xdp_context(len(self._frame), find_device("gen", "far-ext0").ifindex)
        program, started, sent = self._made.programs["generate"], time.monotonic(), 0
        before = core_time()
        chunk = 4096 if pps is None else max(1, min(BURST, int(pps / 1000)))
        while (now := time.monotonic() - started) < seconds:
            if pps is not None and sent > pps * now:
                time.sleep(sent / pps - now)
            program.send_live(self._frame, chunk, context=context)
            sent += chunk
        return sent, time.monotonic() - started if pps is not None else core_time() - before


def core_time() -> float:
    """As ``bench.dataplane.spent``; in a container, where ksoftirqd is not seen, this thread's alone."""
    try:
        return spent()
    except RuntimeError:
        return time.thread_time()


class Sends(Protocol):
    """What :func:`highest` needs of senders."""

    def send(self, pps: float | None, seconds: float) -> tuple[int, float]:
        """Frames sent, and the seconds it took."""


def highest(senders: Sends, delivered: Callable[[], int]) -> float:
    """The highest rate of which at most LOSS is lost, in frames a second that came through; 0: none was found."""

    def trial(pps: float | None) -> tuple[float, bool]:
        before = delivered()
        sent, took = senders.send(pps, TRIAL_S)
        through = drained(delivered) - before
        return through / took, through >= (1 - LOSS) * sent

    senders.send(None, SETTLE_S)
    drained(delivered)
    flat_out = [trial(None) for _ in range(ROUNDS)]
    rate = statistics.median(rate for rate, _ in flat_out)
    if all(passed for _, passed in flat_out):
        return rate
    low, high = 0.0, max(rate, 1000.0)
    for _ in range(STEPS):
        middle = (low + high) / 2 if low else high / 2
        rate, passed = trial(middle)
        low, high = (rate, high) if passed else (low, middle)
        if high <= low:
            break
    return low


def drained(delivered: Callable[[], int]) -> int:
    """What came through, when nothing has for a while."""
    last, since = delivered(), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(0.02)
        if (now := delivered()) != last:
            last, since = now, time.monotonic()
    return last


class Planes:
    """One path, and each way to forward on it in turn."""

    def __init__(self, made: Bench, table: tuple[object, ...], external: Program) -> None:
        self.made, self.table, self.external = made, table, external
        self.port = find_device("ext0", "ext0").ifindex

    @contextmanager
    def way(self, name: str, cpus: Sequence[int]) -> Iterator[Callable[[], int]]:
        """Forward that way meanwhile; gives what counts the frames that came through."""
        if name in ("redirect", "xdp"):
            xdp_attach(self.port, self.made.programs["redirect"] if name == "redirect" else self.external)
            yield self.made.at_sink
            return
        xdp_detach(self.port)
        self.made.sinks(None)
        try:
            with ExitStack() as stack:
                if name == "click" and self.made.click is not None:
                    stack.enter_context(self.made.click.running())
                elif name == "testpmd":
                    stack.enter_context(testpmd(cpus, self.made.folder))
                yield self.made.sent_by_kernel
        finally:
            self.made.sinks(self.made.programs["count"])

    def missing(self, name: str, cores: int) -> str:
        """Why a way is left out; empty: it is not."""
        if name == "click":
            return "no Click" if self.made.click is None else "one thread" if cores > 1 else ""
        return "Debian's dpdk is not installed" if name == "testpmd" and not shutil.which(TESTPMD) else ""


@contextmanager
def testpmd(cpus: Sequence[int], folder: Path) -> Iterator[None]:
    """DPDK forwards from ext0 to int1, a polling thread on each of ``cpus``; its main thread sleeps on the first."""
    queues = len(cpus)
    lcores = ",".join([f"0@{cpus[0]}", *(f"{number}@{cpu}" for number, cpu in enumerate(cpus, 1))])
    devices = [f"--vdev=net_af_packet{at},iface={name},qpairs={queues}" for at, name in enumerate(("ext0", "int1"))]
    command = [TESTPMD, f"--lcores={lcores}", "--no-huge", "-m", "512", "--no-pci", "--file-prefix=rbx", *devices]
    command += ["--", "--forward-mode=macswap", "--auto-start", f"--nb-cores={queues}", f"--rxq={queues}",
                f"--txq={queues}", "--stats-period=3600", "--total-num-mbufs=16384"]  # fmt: skip
    said = folder / "testpmd.log"
    # The kernel would forward the same frames as well; packet sockets see them before they are dropped here.
    subprocess.run(["tc", "qdisc", "add", "dev", "ext0", "clsact"], check=True)
    drop = ["tc", "filter", "add", "dev", "ext0", "ingress", "protocol", "all", "bpf", "da", "bytecode"]
    subprocess.run([*drop, "1,6 0 0 2"], check=True)
    os.sched_setaffinity(0, set(cpus))
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_S
        while "Port statistics" not in said.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{TESTPMD} does not start: {said.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
        subprocess.run(["tc", "qdisc", "del", "dev", "ext0", "clsact"], check=True)


def measure(planes: Planes, cpus: Sequence[int], sizes: Sequence[int], ways: Sequence[str]) -> list[Rate]:
    """All rates of one run, size by size, so that what disturbs it disturbs all ways alike."""
    found = []
    for cores in sorted({1, len(cpus)}):
        used = cpus[-cores:]
        for name in ways:
            if reason := planes.missing(name, cores):
                found += [Rate(name, cores, size, None, reason) for size in sizes]
                continue
            with planes.way(name, used) as delivered:
                for size in sizes:
                    rate = highest(Senders(planes.made, used, size), delivered)
                    found.append(Rate(name, cores, size, rate))
                    print(f"{name}, {cores} of the cores, {size} bytes: {rate / 1e6:.3f} Mpps", file=sys.stderr)
    return found


def table_of(rates: Sequence[Rate]) -> str:
    """The rates as a Markdown table, in Mpps, and what each way has of the bare redirect with 64-byte frames."""
    sizes = sorted({rate.size for rate in rates})
    cells = {(rate.way, rate.cores, rate.size): rate for rate in rates}
    lines = ["| data plane | cores | " + " | ".join(f"{size} B" for size in sizes) + " | of redirect |"]
    lines.append("|---|" + "---:|" * (len(sizes) + 2))
    for way, cores in dict.fromkeys((rate.way, rate.cores) for rate in rates):
        row = [cells[way, cores, size] for size in sizes]
        bare, own = cells.get(("redirect", cores, sizes[0])), row[0].pps
        part = f"{own / bare.pps:.3f}" if own and bare and bare.pps else "-"
        values = [row[0].reason or "-", *[""] * (len(row) - 1)] if row[0].pps is None else _mpps(row)
        lines.append(f"| {way} | {cores} | " + " | ".join(values) + f" | {part} |")
    return "\n".join(lines) + "\n"


def _mpps(row: Sequence[Rate]) -> list[str]:
    return ["none" if not rate.pps else f"{rate.pps / 1e6:.3f}" for rate in row]


def draw(rates: Sequence[Rate], path: Path) -> None:
    """A curve for each way and number of cores."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves: dict[tuple[str, int], list[Rate]] = {}
    for rate in rates:
        if rate.pps:
            curves.setdefault((rate.way, rate.cores), []).append(rate)
    figure, axes = plt.subplots(figsize=(8, 5))
    for (way, cores), points in curves.items():
        x, y = [point.size for point in points], [(point.pps or 0) / 1e6 for point in points]
        style = "-" if cores == 1 else "--"
        axes.plot(x, y, marker="o", linestyle=style, label=f"{way}, cores: {cores}",
                            color=f"C{WAYS.index(way)}")  # fmt: skip
    axes.set(xlabel="bytes of a frame with FCS", ylabel="Mpps", xscale="log", yscale="log")
    axes.set_xticks(sorted({rate.size for rate in rates}), [str(size) for size in sorted({r.size for r in rates})])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/bench"), help="folder for table and plot")
    parser.add_argument("--routes", type=int, default=1 << 18)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="bytes with FCS")
    parser.add_argument("--ways", default=",".join(WAYS))
    arguments = parser.parse_args()
    sizes, ways = [int(size) for size in arguments.sizes.split(",")], arguments.ways.split(",")
    if wrong := [way for way in ways if way not in WAYS]:
        parser.error(f"{', '.join(wrong)}: no data plane, expected {', '.join(WAYS)}")
    if wrong_sizes := [size for size in sizes if not SIZES[0] <= size <= SIZES[-1]]:
        parser.error(f"{wrong_sizes} bytes, expected {SIZES[0]} to {SIZES[-1]}")
    cpus = sorted(os.sched_getaffinity(0))[-2:]
    os.sched_setaffinity(0, {cpus[0]})
    with bench(0, 10_000_000_000, queues=len(cpus)) as made:
        table = bgp_like(arguments.routes, [1, 2, 3, 4])
        made.config["cores"] = list(range(len(cpus)))
        plane = made.plane(compile_fib(*table))
        plane.apply()
        external = Program.pinned(made.folder / "bpf" / "rbops" / "live" / "external")
        if "kernel" in ways:
            kernel_routes(made.spaces, table)
        if "click" in ways:
            made.click = with_click(made.folder / "click", table)
        rates = measure(Planes(made, table, external), cpus, sizes, ways)
        plane.detach()
    arguments.output.mkdir(parents=True, exist_ok=True)
    values = {"schema_version": 1, "rates": [rate.__dict__ for rate in rates]}
    (arguments.output / "planes.json").write_text(json.dumps(values) + "\n")
    (arguments.output / "planes.md").write_text(table_of(rates))
    draw(rates, arguments.output / "planes.svg")
    print(table_of(rates), end="")


if __name__ == "__main__":
    main()
