"""What tunnels cost: two servers and a Linux gateway in namespaces, beside a kernel with the same tunnel.

The same UDP packets go each way in turn, and a way's figure is the packets that came out at the peer per second of
the core that sends, forwards and receives them; medians of the rounds:

    plain         one server forwards in the clear, in at its port and out at it
    tunnel        the same server, into the tunnel: program, kernel's XFRM, program
    plain, kernel     a namespace that only forwards: addresses, a route
    tunnel, kernel    the same with an association and a policy, as one sets them up by hand
    no cipher         the same with a cipher that does nothing: what is left is the cost of all but AES
    two cores     `tunnel` with a second core that sends to the same server's second queue
    two servers   `tunnel`, with a second core whose packets the other server encrypts and sends over the fabric

    python bench/ipsec.py [--rounds N] [--sizes 64,512,1400,imix] [--json]

Where this kernel has no ESP it runs itself in Debian's (scripts/full-kernel), on an emulated processor without
instructions for AES. So the ratios of one run are what it is for, and the share of the cipher is printed with them.
Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.dataplane import spent
from bench.flood import ipv4
from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.libbpf import Object, xdp_attach, xdp_context
from rbops.dataplane.xdp.netdev import find_device
from rbops.selftest.device import private_namespace
from rbops.selftest.programs import Link
from tests.fullkernel.tunnel_lab import FAR, PEER, Lab, built, plan
from tests.support.esp import GCM
from tests.support.netns import inside

ROOT = Path(__file__).resolve().parents[1]
FCS, HEAD, CPUS = 4, 48, 64
BURST, PAUSE_S, LIMIT_S = 192, 0.0005, 10
IMIX = {64: 7, 570: 4, 1400: 1}
"""The longest is 1400 instead of 1518 bytes: a tunnel would have to fragment that one."""
SIZES = "64,512,1400,imix"
BUDGET = 0.9
ALONE = ("198.18.8.1", "198.18.8.2")
ALONE_MAC = bytes.fromhex("024e00080001")
GCM_WORDS = f"aead rfc4106(gcm(aes)) 0x{GCM[0]} 128"
NULL_WORDS = 'enc ecb(cipher_null) "" auth digest_null ""'


@dataclass(frozen=True)
class Port:
    """Where frames are sent from and arrive: a device in a namespace, ``mac`` of the port at the other end."""

    space: str
    device: str
    mac: bytes


class Sender:
    """A core with its program; the header is the program's own."""

    def __init__(self, compiled: Path, stack: ExitStack, cpu: int) -> None:
        self.cpu = cpu
        self.object = stack.enter_context(Object(compiled))
        self.object.load()
        with private_namespace() as namespace:  # kept in XDP's dispatcher: a call then does not wait for RCU
            stack.callback(os.close, namespace)
            stack.callback(Link(self.object.program("flood"), 1, generic=True).close)

    def sending(self, port: Port, source: str, target: str, size: int) -> Callable[[int], int]:
        """Sends that many frames of a size; for a thread that is in the port's namespace."""
        frame = packet(port.mac, source, target, size)
        memoryview(self.object.map(".bss").memory())[:HEAD] = frame[:HEAD]
        context = xdp_context(len(frame), find_device("bench", port.device).ifindex)
        program = self.object.program("flood")
        return lambda count: program.send_live(frame, count, context=context)


def packet(mac: bytes, source: str, target: str, size: int) -> bytes:
    """A UDP packet in a frame of ``size`` bytes with FCS."""
    length = size - FCS - 34
    udp = struct.pack(">HHHH", 30000, 30000, length, 0).ljust(length, b"\0")
    return mac + bytes.fromhex("024e00010003") + b"\x08\x00" + ipv4(source, target, 17, udp)


@dataclass
class Bench:
    """``far`` is the peer's cable, ``near`` the first server's host, ``alone`` the kernel without rbops."""

    lab: Lab
    senders: list[Sender]
    sink: Object
    far: Port
    near: Port
    alone: Port

    def received(self) -> int:
        """Packets that came out, on whichever core."""
        at = self.sink.variable("shared")[1] + HEAD
        return sum(memoryview(self.sink.map(".bss").memory())[at : at + 64 * CPUS].cast("Q")[::8])

    def rate(self, flows: Sequence[tuple[Port, str, str]], sizes: dict[int, int]) -> float:
        """Packets a second of all cores together; a flow for each: port, source, target."""

        def send(number: int, frames: dict[int, int]) -> None:
            for size, count in frames.items():
                burst = self.senders[number].sending(*flows[number], size)
                for at in range(0, count, BURST):
                    burst(min(BURST, count - at))
                    sent[number] += min(BURST, count - at)
                    self.wait(before + sum(sent) - BURST * (len(flows) - 1))

        def one(number: int) -> float:
            os.sched_setaffinity(0, {self.senders[number].cpu})
            with inside(flows[number][0].space):
                send(number, {size: max(1, count // 10) for size, count in sizes.items()})
                together.wait()
                started = spent()
                send(number, sizes)
                return spent() - started

        sent, before = [0] * len(flows), self.received()
        together = Barrier(len(flows))
        with ThreadPoolExecutor(len(flows)) as pool:
            took = list(pool.map(one, range(len(flows))))
        self.wait(before + sum(sent))
        return sum(sizes.values()) * len(flows) / statistics.mean(took)

    def wait(self, wanted: int) -> None:
        """Until so many packets came out: the sender must not outrun the kernel's softirq, whose queues end."""
        limit = time.monotonic() + LIMIT_S
        while self.received() < wanted:
            if time.monotonic() > limit:
                raise RuntimeError(f"{self.received()} of {wanted} packets came out")
            time.sleep(PAUSE_S)

    def round(self, sizes: dict[int, int]) -> dict[str, float]:
        """One rate of each way."""
        here, there = (self.far, "198.18.1.3", FAR), (self.near, "198.18.0.2", FAR)
        alone = (self.alone, "198.18.9.2", FAR)
        rates = {
            "plain": self.rate([(self.far, "198.18.1.3", PEER.address)], sizes),
            "tunnel": self.rate([here], sizes),
        }
        self.by_hand("")
        rates["plain, kernel"] = self.rate([alone], sizes)
        for way, words in (("tunnel, kernel", GCM_WORDS), ("no cipher", NULL_WORDS)):
            self.by_hand(words)
            rates[way] = self.rate([alone], sizes)
        rates["two cores"] = self.rate([here, here], sizes)
        rates["two servers"] = self.rate([here, there], sizes)
        return rates

    def by_hand(self, words: str) -> None:
        """The tunnel of the kernel that is alone, with a cipher; none."""
        space = self.lab.spaces["alone"]
        lines = ["xfrm state flush", "xfrm policy flush"]
        if words:
            ends = f"src {ALONE[0]} dst {ALONE[1]}"
            lines.append(f"xfrm state add {ends} proto esp spi 7 mode tunnel flag esn replay-window 1024 {words}")
            lines.append(f"xfrm policy add src 198.18.0.0/16 dst 10.9.0.0/16 dir out tmpl {ends} proto esp mode tunnel")
        subprocess.run(("ip", "-n", space, "-batch", "-"), input="\n".join(lines), text=True, check=True)


@contextmanager
def bench() -> Iterator[Bench]:
    """Servers, peer and kernel alone with programs attached; nothing of it stays."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rbx-")))
        lab = stack.enter_context(built(folder))
        lab.install(plan(lab.keys))
        lab.apply()
        lab.run("peer", "ip", "link", "set", "p-ext1", "nomaster")
        alone(lab, stack)
        compiled = folder / "ipsec.bpf.o"
        compile_one(Path(__file__).with_name("ipsec.bpf.c"), compiled)
        senders = [Sender(compiled, stack, cpu) for cpu in sorted(os.sched_getaffinity(0))[:2]]
        sink = stack.enter_context(Object(compiled))
        sink.load()
        ports = {"peer": "p-ext1", "h0": "eth0", "alone-peer": "far"}
        for space, device in ports.items():
            with inside(lab.spaces[space]):
                xdp_attach(find_device("bench", device).ifindex, sink.program("count"))
        macs = [mac(lab.servers["n1"].pid, "ext1"), mac(lab.servers["n0"].pid, "ext0"), ALONE_MAC]
        made = [Port(lab.spaces[space], device, at) for (space, device), at in zip(ports.items(), macs, strict=True)]
        yield Bench(lab, senders, sink, *made)


def mac(pid: int, device: str) -> bytes:
    """A device's address in a process's network namespace."""
    with inside(f"/proc/{pid}/ns/net"):
        return find_device("bench", device).mac


def alone(lab: Lab, stack: ExitStack) -> None:
    """A kernel that forwards from a port out of the same one, with two queues as the servers' have."""
    names = {name: f"rbx-{name}-{os.getpid()}" for name in ("alone", "alone-peer")}
    for name in names.values():
        subprocess.run(("ip", "netns", "add", name), check=True)
        stack.callback(subprocess.run, ("ip", "netns", "del", name), check=True)
    lab.spaces |= names
    queues = ("numrxqueues", "2", "numtxqueues", "2")
    end = ("peer", "name", "far", *queues, "netns", names["alone-peer"])
    subprocess.run(("ip", "-n", names["alone"], "link", "add", "ext", *queues, "type", "veth", *end), check=True)
    lab.run("alone-peer", "ip", "link", "set", "far", "address", "02:4e:00:08:00:02", "up")
    settings = ("ip_forward=1", "conf.all.rp_filter=0", "conf.ext.rp_filter=0", "conf.all.send_redirects=0",
                "conf.ext.send_redirects=0")  # fmt: skip
    lab.run("alone", "sysctl", "-qw", *(f"net.ipv4.{setting}" for setting in settings))
    lab.run("alone", "ethtool", "-K", "ext", "gro", "on", "tx", "off", "tso", "off", "gso", "off")
    lines = [
        f"link set ext address {ALONE_MAC.hex(':')} up", f"address add {ALONE[0]}/24 dev ext",
        f"neighbour add {ALONE[1]} lladdr 02:4e:00:08:00:02 dev ext nud permanent",
        "route add 198.18.9.0/24 dev ext", f"route add 10.9.0.0/16 via {ALONE[1]}",
    ]  # fmt: skip
    lab.run("alone", "ip", "-batch", "-", text="\n".join(lines))


def measured(sizes: Sequence[str], rounds: int, frames: int) -> dict[str, dict[str, float]]:
    """Medians of each way's rates, by size."""
    found: dict[str, list[dict[str, float]]] = {size: [] for size in sizes}
    with bench() as made:
        for number in range(rounds + 1):
            for size, rates in found.items():
                parts = IMIX if size == "imix" else {int(size): 12}
                once = made.round({each: share * frames // 12 for each, share in parts.items()})
                if number:  # an emulator translates in the first one
                    rates.append(once)
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return {
        size: {way: statistics.median(each[way] for each in rates) for way in rates[0]} for size, rates in found.items()
    }


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """What is shown of a size."""
    return {
        "tunnel of the kernel's": rates["tunnel"] / rates["tunnel, kernel"],
        "plain of the kernel's": rates["plain"] / rates["plain, kernel"],
        "tunnel of plain": rates["tunnel"] / rates["plain"],
        "two cores of one": rates["two cores"] / rates["tunnel"],
        "two servers of one": rates["two servers"] / rates["tunnel"],
        "cipher's share": 1 - rates["tunnel, kernel"] / rates["no cipher"],
    }


def has_esp() -> bool:
    """Whether this kernel takes an association as the benchmark's."""
    with private_namespace() as namespace:
        os.close(namespace)
        line = f"xfrm state add src 198.18.8.1 dst 198.18.8.2 proto esp spi 7 mode tunnel {GCM_WORDS}\n"
        done = subprocess.run(("ip", "-batch", "-"), input=line, text=True, capture_output=True, check=False)
        return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=1800, help="packets of a way in a round")
    parser.add_argument("--sizes", default=SIZES, help=f"frame sizes with FCS, or imix ({SIZES})")
    parser.add_argument("--json", action="store_true", help="rates and ratios, for programs")
    options = parser.parse_args()
    if not has_esp():
        machine = [str(ROOT / "scripts" / "full-kernel"), "--timeout", "3000", "--"]
        if os.environ.get("FULL_KERNEL"):
            parser.error("this kernel has no ESP")
        return subprocess.run([*machine, sys.executable, *sys.argv], check=False).returncode
    started = time.monotonic()
    found = measured(options.sizes.split(","), options.rounds, options.frames)
    if options.json:
        print(json.dumps({size: {"rates_pps": rates, "ratios": ratios(rates)} for size, rates in found.items()}))
        return 0
    print(f"Medians of {options.rounds} rounds, Linux {os.uname().release}, {time.monotonic() - started:.0f} s\n")
    shown = {size: ratios(rates) for size, rates in found.items()}
    print("".ljust(24) + "".join(size.rjust(8) for size in shown))
    for row in next(iter(shown.values())):
        print(row.ljust(24) + "".join(f"{values[row]:8.2f}" for values in shown.values()))
    print(f"\nbudget: tunnel of the kernel's at least {BUDGET}")
    return 0 if all(values["tunnel of the kernel's"] >= BUDGET for values in shown.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
