"""The data plane's speed on one core: generator, router and sink in namespaces, joined by veths.

Ways to forward the same frames, run in turn, medians of their rates:

    redirect  a program of one redirect to one link, the most that XDP can do here
    router    route + Direct VLB + flowlets, 256K routes, every destination random
    spread    the same over the four links that the router sends to
    sampled   the router, with one frame in so many sampled for sFlow (--sampling), and a process that takes the samples
    kernel    the kernel's own forwarding by the same routes
    click     Click's socket dialect as rbops renders it, same routes, where there is a Click (CLICK_PREFIX, or
              on PATH). Frames come in bursts that its socket holds; what the core spends on one more than
              with the redirect and the same bursts is added to the redirect's time

and the time to compile, load and swap the table while frames flow. Needs root; prints ratios of one
run: the rates themselves say more about the machine. `--json` for programs.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.click_way import ClickWay, click_way
from bench.routes import bgp_like
from bench.routes6 import bgp_like6
from rbops.dataplane.click.controller.build import ClickError, find
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.libbpf import Map, Object, Program, xdp_attach, xdp_context, xdp_detach
from rbops.dataplane.xdp.loader import DataPlane
from rbops.dataplane.xdp.netdev import find_device
from rbops.dataplane.xdp.sampling import XdpSampling
from rbops.node.schema.fields import Fields
from rbops.resources import bpf_object
from rbops.selftest.device import private_namespace
from rbops.selftest.programs import Link

SERVERS = 4
LINKS = ("int1", "int2", "int3", "ext4")
FRAME = bytes(60)
FRAME6 = bytes(62)
TARGETS = 1 << 18
CPUS = 64
CLONE_NEWNET = 0x40000000
BURST, PAUSE_S = 32, 0.0005
BUDGETS = {"of bare redirect": 0.6, "of the kernel": 5.0}
BUDGETS6 = {"of bare redirect": 0.6}


def run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, input=text)


def spent() -> float:
    """Seconds of this thread and of its core's ksoftirqd, which takes over when there is much to receive."""
    (cpu,) = os.sched_getaffinity(0)
    for folder in Path("/proc").glob("[0-9]*"):
        if (folder / "comm").read_text() == f"ksoftirqd/{cpu}\n":
            return time.thread_time() + int((folder / "schedstat").read_text().split()[0]) / 1e9
    raise RuntimeError(f"CPU {cpu} has no ksoftirqd")


class Namespaces:
    """Three namespaces; ``enter`` moves the calling thread."""

    def __init__(self, stack: ExitStack) -> None:
        self.names = {role: f"rbx-{role}-{os.getpid()}" for role in ("gen", "router", "sink")}
        self._fds = {}
        for role, name in self.names.items():
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            self._fds[role] = os.open(f"/run/netns/{name}", os.O_RDONLY)
            stack.callback(os.close, self._fds[role])
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        stack.callback(os.close, home)
        stack.callback(self._set, home)

    @staticmethod
    def _set(fd: int) -> None:
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def enter(self, role: str) -> None:
        """Into gen, router or sink."""
        self._set(self._fds[role])


def wire(spaces: Namespaces, queues: int = 1) -> None:
    """ext0 towards the generator, the other links towards the sink; a queue for each core."""
    many = ("numrxqueues", str(queues), "numtxqueues", str(queues))
    names = spaces.names
    for name in names.values():
        run("ip", "netns", "exec", name, "sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1")
    for port in ("ext0", *LINKS):
        far = "gen" if port == "ext0" else "sink"
        peer = ("peer", "name", f"far-{port}", "netns", names[far], *many)
        run("ip", "link", "add", port, "netns", names["router"], *many, "type", "veth", *peer)
        run("ip", "-n", names["router"], "link", "set", port, "up")
        run("ip", "-n", names[far], "link", "set", f"far-{port}", "up")
    # The kernel takes redirected frames only from a device with NAPI, which GRO turns on.
    run("ip", "netns", "exec", names["router"], "ethtool", "-K", "ext0", "gro", "on")
    settings = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
    run("ip", "netns", "exec", names["router"], "sysctl", "-q", *settings, "net.ipv4.conf.ext0.rp_filter=0")


def kernel_routes(spaces: Namespaces, table: tuple[Any, ...]) -> None:
    """The same routes in the router's kernel, with permanent neighbours."""
    prefixes, lengths, values = table
    lines = []
    for number, link in enumerate(LINKS, 1):
        lines.append(f"addr add 10.99.{number}.1/24 dev {link}")
        lines.append(f"neigh add 10.99.{number}.2 dev {link} lladdr 02:4e:00:00:00:02 nud permanent")
    for prefix, length, value in zip(prefixes.tolist(), lengths.tolist(), (values >> 16).tolist(), strict=True):
        dotted = ".".join(str(prefix >> shift & 255) for shift in (24, 16, 8, 0))
        lines.append(f"route replace {dotted}/{length} via 10.99.{value}.2")
    run("ip", "-n", spaces.names["router"], "-batch", "-", text="\n".join(lines))


def node_config(folder: Path, line_rate: int, urpf: str) -> dict[str, Any]:
    """Server 0 of a mesh of four, with external ports 0 and 4; ``line_rate`` in bits a second."""
    path = bpf_object("dataplane/xdp", "router.bpf.o")
    ports = [{"name": "ext0", "kind": "external", "id": 0, "rate_bps": line_rate}]
    ports += [
        {"name": f"int{peer}", "kind": "internal", "peer_server": peer, "rate_bps": line_rate} for peer in (1, 2, 3)
    ]
    ports += [{"name": "ext4", "kind": "external", "id": 4, "rate_bps": line_rate}]
    return {
        "object": str(path),
        "object_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "fib": str(folder / "fib.bin"),
        "fib_sha256": "",
        "server": 0,
        "servers": SERVERS,
        "cores": [0],
        "routing": "direct-vlb",
        "flowlet_timeout_s": 0.1,
        "direct_quota_bps": line_rate // SERVERS,
        "probe_interval_s": 0.01,
        "probe_multiplier": 3,
        "ports": ports,
        "owners": [0, 1, 2, 3, 0],
        "next_hop": {str(peer): f"int{peer}" for peer in (1, 2, 3)},
        "intermediates": [1, 2, 3],
        "adjacencies": [{"port": 4, "index": 1, "mac": "02:4e:00:04:00:02"}],
        "punts": dict.fromkeys(PUNTED, 1000),
        "addresses": [f"198.18.{port}.1" for port in range(5)],
        "urpf": {"ext0": urpf},
    }


@dataclass
class Bench:
    """Everything set up; the methods measure. ``offset`` is where in ``received`` the sink counts."""

    spaces: Namespaces
    folder: Path
    config: dict[str, Any]
    programs: dict[str, Program]
    received: Map
    offset: int
    frames: int
    click: ClickWay | None = None
    ipv6: bool = False
    sampling: XdpSampling | None = None
    rate_of_samples: int = 0
    samples: int = 0

    def plane(self, blob: bytes) -> DataPlane:
        """The data plane with that table, not applied."""
        path = Path(self.config["fib"])
        path.write_bytes(blob)
        self.config["fib_sha256"] = hashlib.sha256(blob).hexdigest()
        names = {port["name"]: port["name"] for port in self.config["ports"]}
        return DataPlane(XdpConfig.parse(Fields("dataplane", self.config)), names, self.folder / "bpf" / "rbops")

    def send(self, frames: int) -> None:
        """Send frames from the core that the caller runs on."""
        self.spaces.enter("gen")
        frame, program = (FRAME6, "generate6") if self.ipv6 else (FRAME, "generate")
        context = xdp_context(len(frame), find_device("gen", "far-ext0").ifindex)
        self.programs[program].send_live(frame, frames, context=context)
        self.spaces.enter("router")

    def rate(self, delivered: Callable[[], int]) -> float:
        """Frames that came through per second of the core, whoever else uses it."""
        self.send(self.frames // 20)
        before, started = delivered(), spent()
        self.send(self.frames)
        return (delivered() - before) / (spent() - started)

    def in_bursts(self, delivered: Callable[[], int], other: Callable[[], float] = lambda: 0.0) -> float:
        """The core's seconds for a frame that came through, ``other`` CPU time with it; bursts with pauses between."""
        bursts = self.frames // 10 // BURST
        before, started = delivered(), spent() + other()
        for _ in range(bursts):
            self.send(BURST)
            time.sleep(PAUSE_S)
        seconds, through = spent() + other() - started, delivered() - before
        if through < 0.9 * bursts * BURST:
            raise RuntimeError(f"only {through} of {bursts * BURST} frames were forwarded")
        return seconds / through

    def at_sink(self) -> int:
        """Frames that the sink has counted."""
        counts = memoryview(self.received.memory())[self.offset : self.offset + 64 * CPUS].cast("Q")
        return sum(counts[::8])

    def sent_by_kernel(self) -> int:
        """Frames the router's kernel handed to the links."""
        raw = subprocess.run(["ip", "-s", "-j", "link"], check=True, capture_output=True, text=True).stdout
        return sum(link["stats64"]["tx"]["packets"] for link in json.loads(raw) if link["ifname"] in LINKS)

    def round(self) -> dict[str, float]:
        """One rate of each way, in turn."""
        port = find_device("ext0", "ext0").ifindex
        rates = {}
        for way, program in (("redirect", "redirect"), ("spread", "spread"), ("router", "external")):
            xdp_attach(port, self.programs[program])
            rates[way] = self.rate(self.at_sink)
            if way == "router" and self.sampling is not None:
                rates["sampled"] = self.sampled(self.sampling)
            if way == "redirect" and self.click:
                bare = self.in_bursts(self.at_sink)
        if self.ipv6:
            return rates
        xdp_detach(port)
        self.sinks(None)
        rates["kernel"] = self.rate(self.sent_by_kernel)
        if self.click:
            with self.click.running() as used:
                own = self.in_bursts(self.sent_by_kernel, used) - bare
            rates["click"] = 1 / (own + 1 / rates["redirect"])
        self.sinks(self.programs["count"])
        xdp_attach(port, self.programs["external"])
        return rates

    def sampled(self, sampling: XdpSampling) -> float:
        """The router's rate with samples taken, which this process takes out of the ring before and afterwards."""
        sampling.take()
        sampling.set_rate(self.rate_of_samples)
        try:
            return self.rate(self.at_sink)
        finally:
            sampling.set_rate(0)
            self.samples += len(sampling.take())

    def sinks(self, program: Program | None) -> None:
        """Attach the sink's program, or none: a frame from the kernel is then dropped as somebody else's."""
        self.spaces.enter("sink")
        for link in LINKS:
            device = find_device(link, f"far-{link}").ifindex
            if program:
                xdp_attach(device, program)
            else:
                xdp_detach(device)
        self.spaces.enter("router")


@contextmanager
def bench(frames: int, line_rate: int, urpf: str = "off", targets: bytes = b"", *, queues: int = 1) -> Iterator[Bench]:
    """Namespaces, programs and a bpf file system, and nothing of it left afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rbx-")))
        (folder / "bpf").mkdir()
        run("mount", "-t", "bpf", "bpf", str(folder / "bpf"))
        stack.callback(run, "umount", str(folder / "bpf"))
        spaces = Namespaces(stack)
        wire(spaces, queues)
        compile_one(Path(__file__).with_name("dataplane.bpf.c"), folder / "bench.bpf.o")
        spaces.enter("router")
        obj = stack.enter_context(Object(folder / "bench.bpf.o"))
        obj.set_variable("router_mac", find_device("ext0", "ext0").mac + bytes(2))
        obj.set_variable("targets_mask", (TARGETS - 1).to_bytes(4, "little"))
        obj.load()
        if targets:
            obj.map("targets").memory()[: len(targets)] = targets
        first = (0).to_bytes(4, "little")
        for number, link in enumerate(LINKS):
            device = find_device(link, link).ifindex
            obj.map("redirect_out").update(number.to_bytes(4, "little"), device.to_bytes(4, "little"))
        spaces.enter("gen")
        device = find_device("gen", "far-ext0").ifindex
        obj.map("generator_out").update(first, device.to_bytes(4, "little"))
        xdp_attach(device, obj.program("count"))
        spaces.enter("router")
        # In XDP's dispatcher it stays there: a call then does not wait for RCU, some 25 ms.
        with private_namespace() as namespace:
            stack.callback(os.close, namespace)
            parked = Link(obj.program("generate6" if targets else "generate"), 1, generic=True)
        stack.callback(parked.close)
        programs = {name: obj.program(name) for name in ("generate", "generate6", "redirect", "spread", "count")}
        received, offset = obj.map(".bss"), obj.variable("received")[1]
        made = Bench(spaces, folder, node_config(folder, line_rate, urpf), programs, received, offset, frames)
        made.ipv6 = bool(targets)
        made.sinks(programs["count"])
        yield made


def live_swap(made: Bench, blob: bytes) -> dict[str, float]:
    """Swap the table while frames flow; seconds, and frames lost."""
    plane = made.plane(blob)
    before, seconds, sent = made.at_sink(), [], [0]
    stop = threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            made.send(20_000)
            sent[0] += 20_000

    sender = threading.Thread(target=traffic)
    sender.start()
    time.sleep(0.1)
    started = time.perf_counter()
    plane.apply()
    seconds.append(time.perf_counter() - started)
    stop.set()
    sender.join()
    return {"seconds": seconds[0], "lost": sent[0] - (made.at_sink() - before)}


def measure(made: Bench, routes: int, rounds: int, routes6: Sequence[tuple[int, int, int]] = ()) -> dict[str, Any]:
    """All figures of one run."""
    table, other = bgp_like(routes, [1, 2, 3, 4]), bgp_like(routes, [1, 2, 3, 4], seed=2)
    started = time.perf_counter()
    blob = compile_fib(*table, routes6)
    compiled = time.perf_counter() - started
    plane = made.plane(blob)
    started = time.perf_counter()
    plane.apply()
    loaded = time.perf_counter() - started
    made.programs["external"] = Program.pinned(made.folder / "bpf" / "rbops" / "live" / "external")
    if not made.ipv6:
        kernel_routes(made.spaces, table)
        made.click = with_click(made.folder / "click", table)
    if made.rate_of_samples:
        made.sampling = plane.sampling()
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way, rate in made.round().items():
            rates.setdefault(way, []).append(rate)
    swap = live_swap(made, compile_fib(*other, routes6))
    plane.detach()
    medians = {way: statistics.median(values) for way, values in rates.items()}
    return {
        "routes": routes,
        **({"ipv6_routes": len(routes6)} if made.ipv6 else {}),
        "table_bytes": len(blob),
        "mpps": {way: round(rate / 1e6, 2) for way, rate in medians.items()},
        "of bare redirect": round(_ratio(rates, "redirect"), 3),
        "of spread redirect": round(_ratio(rates, "spread"), 3),
        **({} if made.ipv6 else {"of the kernel": round(_ratio(rates, "kernel"), 2)}),
        **(_sampled(made, rates) if made.sampling else {}),
        **({"of Click": round(_ratio(rates, "click"), 2)} if made.click else {}),
        "compile_s": round(compiled, 3),
        "load_s": round(loaded, 3),
        "swap_s": round(swap["seconds"], 3),
        "lost_in_swap": swap["lost"],
    }


def with_click(folder: Path, table: tuple[Any, ...]) -> ClickWay | None:
    """Click with those routes; None, and a line that says so, where there is none."""
    try:
        return click_way(find(os.environ.get("CLICK_PREFIX")), folder, table)
    except ClickError as error:
        print(f"click is left out: {error}", file=sys.stderr)
        return None


def _sampled(made: Bench, rates: dict[str, list[float]]) -> dict[str, float]:
    """The router that samples beside the one that does not, and how many frames of how many were samples."""
    pairs = zip(rates["sampled"], rates["router"], strict=True)
    return {"sampled of the router": round(statistics.median(a / b for a, b in pairs), 3), "samples": made.samples}


def _ratio(rates: dict[str, list[float]], other: str) -> float:
    """The median of the rounds' ratios: what disturbs a round disturbs its ways alike."""
    return statistics.median(router / rate for router, rate in zip(rates["router"], rates[other], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--routes", type=int, default=1 << 18)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=300_000, help="per rate")
    parser.add_argument(
        "--line-rate", type=float, default=10, help="Gbps; at 2 and below much of the traffic takes two hops"
    )
    parser.add_argument(
        "--urpf",
        choices=("off", "loose"),
        default="off",
        help="check of sources at the port that frames come in at (strict: no route of the bench leads back there)",
    )
    parser.add_argument(
        "--ipv6", type=int, default=0, metavar="ROUTES", help="IPv6 packets by so many IPv6 routes, beside the others"
    )
    parser.add_argument("--sampling", type=int, default=0, metavar="N", help="also with one frame in N sampled")
    arguments = parser.parse_args()
    routes6, targets = bgp_like6(arguments.ipv6, [1, 2, 3, 4], TARGETS) if arguments.ipv6 else ([], b"")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with bench(arguments.frames, round(arguments.line_rate * 1e9), arguments.urpf, targets) as made:
        made.rate_of_samples = arguments.sampling
        figures = measure(made, arguments.routes, arguments.rounds, routes6)
    if arguments.json:
        print(json.dumps({"schema_version": 1, **figures}))
        return
    for name, budget in (BUDGETS6 if arguments.ipv6 else BUDGETS).items():
        print(f"router: {figures[name]} {name} (budget {budget})")
    if "of Click" in figures:
        print(f"router: {figures['of Click']} of Click on sockets")
    if arguments.sampling:
        told = f"{figures['sampled of the router']} of the one without, {figures['samples']} samples"
        print(f"router with one frame in {arguments.sampling} sampled: {told}")
    print(", ".join(f"{way} {rate} Mpps" for way, rate in figures["mpps"].items()))
    print(f"{figures['routes']} routes: {figures['table_bytes']} bytes; compiled in {figures['compile_s']} s,")
    print(f"loaded in {figures['load_s']} s, swapped in {figures['swap_s']} s, {figures['lost_in_swap']} frames lost")


if __name__ == "__main__":
    main()
