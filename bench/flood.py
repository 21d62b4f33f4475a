"""Floods of what a router's kernel must answer, and who still reaches the router: on a lab that is up and applied.

Run as ``python bench/flood.py SPEC [--seconds N] [KIND ...]`` as root. For each kind port 0's tester sends as many
frames as a core can, from a neighbour that is not planned, while port 0's and the last port's testers ping port 0's
address. A row has, for port 0's server: what was sent a second, what its kernel got, what was dropped for the rate; and
of the pings how many were answered, and the longest time.

    ttl        TTL 1, for the last port's neighbour        options    IP options, for the same
    arp        ARP requests for the router's address       icmp       echo requests to the router's address
    syn        TCP SYNs to the router's port 22            udp        datagrams to the router's address
    unresolved datagrams to a neighbour that does not exist
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.libbpf import Object, xdp_context
from rbops.planner import load_plan
from rbops.selftest.wire import internet_checksum

FRAME = 64
STRANGER = bytes.fromhex("024e0000aa66")
EVERYBODY = b"\xff" * 6
KINDS = ("ttl", "options", "arp", "icmp", "syn", "udp", "unresolved")
BURST = 20_000


def ipv4(source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, options: bytes = b"") -> bytes:
    words, total = 5 + len(options) // 4, 20 + len(options) + len(payload)
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, total, 0, 0, ttl, protocol, 0) + ends + options
    return head[:10] + struct.pack(">H", internet_checksum(head)) + head[12:] + payload


def frame(kind: str, mac: bytes, router: IPv4Interface, beyond: str) -> bytes:
    """The flood's frame: ``mac`` and ``router`` are the port's, ``beyond`` is a neighbour of another port."""
    stranger, own = str(router.network.network_address + 66), str(router.ip)
    udp = struct.pack(">HHHH", 30000, 30000, 8, 0)
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    syn = struct.pack(">HHIIBBHHH", 30000, 22, 1, 0, 0x50, 2, 1024, 0, 0)
    packets = {
        "ttl": lambda: ipv4(stranger, beyond, 17, udp, ttl=1),
        "options": lambda: ipv4(stranger, beyond, 17, udp, options=b"\x94\x04\0\0"),
        "icmp": lambda: ipv4(stranger, own, 1, echo[:2] + struct.pack(">H", internet_checksum(echo)) + echo[4:]),
        "syn": lambda: ipv4(stranger, own, 6, syn),
        "udp": lambda: ipv4(stranger, own, 17, udp),
        "unresolved": lambda: ipv4(stranger, str(router.network.network_address + 77), 17, udp),
    }
    if kind == "arp":
        request = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + STRANGER + socket.inet_aton(stranger)
        content = EVERYBODY + STRANGER + b"\x08\x06" + request + bytes(6) + socket.inet_aton(own)
    else:
        content = mac + STRANGER + b"\x08\x00" + packets[kind]()
    return content.ljust(FRAME, b"\0")


def send(content: bytes, device: str, seconds: float) -> int:
    """Frames sent out of ``device`` of this network namespace in about ``seconds``."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "flood.bpf.o"
        compile_one(Path(__file__).with_name("flood.bpf.c"), compiled)
        with Object(compiled) as source:
            source.set_variable("frame", content)
            source.load()
            program = source.program("flood")
    context, sent = xdp_context(FRAME, socket.if_nametoindex(device)), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        program.send_live(content, BURST, context=context)
        sent += BURST
    return sent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", help="the lab's spec")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all of {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--frame", help=argparse.SUPPRESS)
    parser.add_argument("--device", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.frame:
        print(send(bytes.fromhex(options.frame), options.device, options.seconds))
        return 0
    strange = sorted(set(options.kinds) - set(KINDS))
    if strange:
        parser.error(f"{strange[0]} is none of {', '.join(KINDS)}")
    print("kind        sent/s    to the kernel/s  dropped/s   pings from port 0    pings from the last port")
    for kind in options.kinds or KINDS:
        print(row(options.spec, kind, options.seconds), flush=True)
    return 0


def row(spec: str, kind: str, seconds: float) -> str:
    """One flood, as a line of the table."""
    plan = load_plan(spec)
    owner, last = plan.port_owner[0].name, max(plan.port_owner)
    ports = {port.id: port for server in plan.servers for port in server.ports if port.id is not None}
    router = IPv4Interface(ports[0].addresses[0])
    mac = bytes.fromhex(command(spec, owner, "cat", f"/sys/class/net/{ports[0].name}/address").strip().replace(":", ""))
    content = frame(kind, mac, router, ports[last].adjacencies[0].address)
    links = json.loads(command(spec, "t0", "ip", "-json", "link", "show", "type", "veth"))
    pings = ["ping", "-n", "-q", "-i", "0.05", "-c", str(round(seconds / 0.05)), "-W", "2", str(router.ip)]
    before = counters(spec, owner)
    flood = start(spec, "t0", sys.executable, __file__, spec, "--seconds", str(seconds + 1), "--frame", content.hex(),
                  "--device", str(links[0]["ifname"]))  # fmt: skip
    time.sleep(0.7)
    asked = [start(spec, tester, *pings) for tester in ("t0", f"t{last}")]
    answers = [answered(process.communicate()[0]) for process in asked]
    sent = int(flood.communicate()[0])
    after = counters(spec, owner)
    punted, dropped = (sum(after[group].values()) - sum(before[group].values()) for group in ("punted", "dropped"))
    rates = [count / (seconds + 1) for count in (sent, punted, dropped)]
    return f"{kind:10}  {rates[0]:9,.0f}  {rates[1]:15,.0f}  {rates[2]:9,.0f}   {answers[0]:18}   {answers[1]}"


def answered(text: str) -> str:
    """``100 %, 0.3 ms`` of ping's summary."""
    loss = re.search(r"([0-9.]+)% packet loss", text)
    times = re.search(r"= [0-9.]+/[0-9.]+/([0-9.]+)/", text)
    return f"{100 - float(loss[1]) if loss else 0:g} %, {times[1] + ' ms' if times else '-'}"


def counters(spec: str, server: str) -> dict[str, dict[str, int]]:
    return parse(command(spec, server, "rbops-node", "counters"))


def parse(text: str) -> dict[str, dict[str, int]]:
    """Group and reason -> packets, of what `rbops-node counters` says."""
    found: dict[str, Any] = json.loads(text)
    return {group: dict(found["total"][group]) for group in ("punted", "dropped")}


def lab(spec: str, host: str, words: Sequence[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("rbops")), "lab", "exec", spec, host, "--", *words]


def command(spec: str, host: str, *words: str) -> str:
    return subprocess.run(lab(spec, host, words), check=True, capture_output=True, text=True).stdout


def start(spec: str, host: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(lab(spec, host, words), stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    sys.exit(main())
