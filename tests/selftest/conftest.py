"""A small router of one namespace between testers in namespaces of their own, for the self-test's own tests."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from rbops.dataplane.xdp.controller.compile import compile_all, compile_one
from rbops.dataplane.xdp.libbpf import Map, Object
from rbops.deploy.inventory import Target
from rbops.plan import PUNT, Adjacency, ClusterPlan, Ipv6, Port6, Route, Routes
from rbops.selftest.programs import Link
from rbops.selftest.result import SelftestResult
from rbops.selftest.wire import mac_bytes
from tests.support.netns import inside
from tests.support.plans import Mesh, connected_routes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAULTS = (
    "none", "drop", "duplicate", "corrupt", "reorder", "misdeliver", "ttl", "checksum", "mac", "mangle", "header",
)  # fmt: skip
DEVMAP = 14


def make_plan(ports: int = 3, *, routes: tuple[Route, ...] = (), rate_bps: int = 100_000_000_000) -> ClusterPlan:
    """A mesh in which server n{P} owns external port P; nothing is said of internal cables."""
    connected = connected_routes(ports, own=False)
    whole = Mesh("reference", ports, rate_bps, cabled=False)
    return whole.plan(Routes(connected, routes, count=len(connected) + len(routes)))


def with_ipv6(plan: ClusterPlan, *routes: Route) -> ClusterPlan:
    """The plan with 2001:db8:0:PORT::/64 on each port, the router ::1 in it and the tester ::2."""
    ports = []
    for port in sorted(plan.port_owner):
        near = Adjacency(2, f"2001:db8:0:{port:x}::2", f"02:4e:00:{port:02x}:00:02")
        ports.append(Port6(port, f"2001:db8:0:{port:x}::1/64", (near,)))
    connected = tuple(
        route
        for port in ports
        for route in (
            Route(f"2001:db8:0:{port.port:x}::/64", port.port, PUNT, None),
            Route(f"2001:db8:0:{port.port:x}::1/128", port.port, PUNT, None),
            Route(f"2001:db8:0:{port.port:x}::2/128", port.port, 2, None),
        )
    )
    return replace(plan, ipv6=Ipv6(tuple(ports), connected, routes))


@dataclass(frozen=True)
class FakeTester:
    port: int
    netns: str | None
    device: str
    target: Target | None = None


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class ReferenceRouter:
    """``break_with`` makes it go wrong once in ``every`` packets; ``mend`` ends that."""

    prefix: str
    ports: int
    testers: list[FakeTester]
    plan: ClusterPlan
    fault: Map
    ifindexes: list[int]
    delay: int
    keep: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)

    def break_with(self, kind: str, every: int, *, wrong_port: int | None = None) -> None:
        """``wrong_port``: where packets are misdelivered to; None: always to a port where they do not belong."""
        wrong = self.ifindexes[wrong_port or 0]
        other = self.ifindexes[1] if wrong_port is None else 0
        config = struct.pack("<IIIIIIQQ", FAULTS.index(kind), every, self.delay, wrong, other, 0, 0, 0)
        self.fault.update(bytes(4), config)

    def mend(self) -> None:
        self.fault.update(bytes(4), bytes(40))

    def mark(self) -> dict[str, dict[str, object]]:
        """Stands in for the servers' counters, which are read before and after each try of a phase."""
        self.marks.append(struct.unpack("<IIIIIIQQ", self.fault.lookup(bytes(4)) or b"")[7])
        return {}

    def steadily(self, run: Callable[[], SelftestResult]) -> SelftestResult:
        """The result of a run in which the veth devices took every packet that the router gave them.

        A tester whose CPU is taken away for some milliseconds cannot empty its queue of 256; what is lost then was
        lost by this machine. Repeated at most twice.
        """
        for last in (False, False, True):
            before = self._refused()
            result = run()
            if last or self._refused() == before:
                break
        return result

    def _refused(self) -> int:
        command = ["ip", "netns", "exec", f"{self.prefix}r", "ethtool", "-S"]
        shown = "".join(
            subprocess.run([*command, f"ext{number}"], check=True, capture_output=True, text=True).stdout
            for number in range(self.ports)
        )
        return sum(int(count) for count in re.findall(r"tx_queue_\d+_xdp_xmit_errors: (\d+)", shown))

    @property
    def injected(self) -> int:
        """Faults of the last phase: a try that a tester's own device cut short is repeated."""
        return self.marks[-1] - self.marks[-2]


def _cable(prefix: str, number: int) -> None:
    tester, router = f"{prefix}t{number}", f"{prefix}r"
    ip("netns", "add", tester)
    queues = ("numrxqueues", "2", "numtxqueues", "2")
    near = ("link", "add", f"ext{number}", "netns", tester, *queues, "address", f"02:4e:00:{number:02x}:00:02")
    ip(*near, "type", "veth", "peer", "name", f"ext{number}", "netns", router, *queues)
    for namespace in (tester, router):
        command = ["ip", "netns", "exec", namespace, "ethtool", "-L", f"ext{number}", "rx", "2", "tx", "2"]
        subprocess.run(command, check=False, capture_output=True)
        ip("-n", namespace, "link", "set", f"ext{number}", "up")
    ip("-n", tester, "addr", "add", f"198.18.{number}.2/24", "dev", f"ext{number}")
    ip("-n", router, "addr", "add", f"198.18.{number}.1/24", "dev", f"ext{number}")
    on = ["ip", "netns", "exec", router, "sysctl", "-qw", f"net.ipv6.conf.ext{number}.disable_ipv6=0"]
    subprocess.run(on, check=True, capture_output=True)
    ip("-n", router, "addr", "add", f"2001:db8:0:{number:x}::1/64", "dev", f"ext{number}", "nodad")


def _start(prefix: str, ports: int, objects: Path) -> ReferenceRouter:
    source = Object(objects / "router.bpf.o")
    source.load()
    keep: list[object] = [source]
    ifindexes = []
    with inside(f"{prefix}r"):
        for number in range(ports):
            ifindex = socket.if_nametoindex(f"ext{number}")
            ifindexes.append(ifindex)
            keep.append(Link(source.program("route"), ifindex))
            mac = subprocess.run(
                ["ip", "netns", "exec", f"{prefix}r", "cat", f"/sys/class/net/ext{number}/address"],
                check=True, capture_output=True, text=True,
            ).stdout.strip()  # fmt: skip
            entry = struct.pack("<I", ifindex) + bytes([2, 0x4E, 0, number, 0, 2]) + mac_bytes(mac)
            source.map("routes").update(struct.pack("<I", number), entry)
            both = Map.create("both", DEVMAP, key_size=4, value_size=4, entries=2)
            for key in range(2):
                both.update(struct.pack("<I", key), struct.pack("<I", ifindex))
            source.map("twice").update(struct.pack("<I", number), struct.pack("<i", both.fd))
        delay, rejoin = socket.if_nametoindex("loop0"), socket.if_nametoindex("loop1")
        keep += [Link(source.program("rejoin"), rejoin), Link(source.program("rejoin"), delay)]
    testers = [FakeTester(number, f"{prefix}t{number}", f"ext{number}") for number in range(ports)]
    return ReferenceRouter(
        prefix, ports, testers, make_plan(ports), source.map("fault"), ifindexes, delay, keep
    )  # fmt: skip


@pytest.fixture(scope="session")
def bpf_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled test router; the package's own objects are brought up to date too."""
    compile_all(ROOT / "rbops" / "selftest")
    where = tmp_path_factory.mktemp("bpf")
    compile_one(HERE / "router.bpf.c", where / "router.bpf.o")
    return where


@pytest.fixture(scope="module")
def running_router(bpf_objects: Path) -> Iterator[ReferenceRouter]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")
    prefix, ports = f"rbs-{uuid.uuid4().hex[:5]}-", 3
    names = [f"{prefix}r", *(f"{prefix}t{number}" for number in range(ports))]
    try:
        ip("netns", "add", f"{prefix}r")
        ip("-n", f"{prefix}r", "link", "add", "loop0", "type", "veth", "peer", "name", "loop1")
        for device in ("loop0", "loop1"):
            ip("-n", f"{prefix}r", "link", "set", device, "up")
        for number in range(ports):
            _cable(prefix, number)
        yield _start(prefix, ports, bpf_objects)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def router(running_router: ReferenceRouter) -> Iterator[ReferenceRouter]:
    """The reference router, healthy at the start of each test."""
    running_router.mend()
    yield running_router
    running_router.mend()


@contextmanager
def first_behind_a_bridge(router: ReferenceRouter) -> Iterator[list[FakeTester]]:
    """The testers, the first with its device below a bridge, whose driver has no XDP."""
    first, *others = router.testers
    inside_ns = ["ip", "netns", "exec", f"{router.prefix}t0"]
    show = [*inside_ns, "cat", "/sys/class/net/ext0/address"]
    mac = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
    commands = (
        f"ip link add br0 address {mac} type bridge stp_state 0 forward_delay 0",
        "ip link set ext0 master br0",
        "ip link set br0 up",
        "ethtool -K ext0 gro on",  # without it, and without XDP, a veth drops what is redirected to it
    )
    try:
        for words in commands:
            subprocess.run([*inside_ns, *words.split()], check=True)
        yield [replace(first, device="br0"), *others]
    finally:
        subprocess.run([*inside_ns, "ip", "link", "del", "br0"], check=False)
