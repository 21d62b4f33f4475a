"""A Click with a rendered configuration in a network namespace of its own, and the far ends of its ports' cables."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbops.dataplane.click.control import Control, NoClick
from rbops.dataplane.click.controller.build import Click
from rbops.dataplane.click.controller.command import CONTROL, command
from rbops.plan import ClusterPlan
from tests.render.test_click import files
from tests.support.netns import inside

__all__ = ["Rig", "Wire", "mac_of", "rig"]

_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_WAIT_S = 20.0
_START_S = 60.0


def mac_of(number: int) -> bytes:
    """The address of server 0's port ``number``: the one that is planned for DPDK."""
    return bytes.fromhex(f"02530000{number:04x}")


@dataclass(frozen=True)
class Wire:
    """The far end of a port's cable."""

    socket: socket.socket

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)


@dataclass(frozen=True)
class Rig:
    """``wires`` are those of the ports by name; that of ``rbops0`` shows what Click gives to the kernel."""

    wires: dict[str, Wire]
    control: Path

    def receive(self, *names: str, count: int = 1) -> list[tuple[str, bytes]]:
        """The next ``count`` frames that come out of these ports, each with its port."""
        by_socket = {self.wires[name].socket: name for name in names}
        found: list[tuple[str, bytes]] = []
        deadline = time.monotonic() + _WAIT_S
        while len(found) < count:
            ready, _, _ = select.select(list(by_socket), [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{len(found)} of {count} frames at {', '.join(names)}: {found}"
            for end in ready:
                frame, where = end.recvfrom(2048)
                # What is sent into the cable here is seen here as well.
                if where[2] != socket.PACKET_OUTGOING:
                    found.append((by_socket[end], frame))
        return found

    def read(self, handler: str) -> str:
        with Control(self.control) as control:
            return control.read(handler)


@contextmanager
def rig(plan: ClusterPlan, click: Click, package: Path, folder: Path) -> Iterator[Rig]:
    """Server n0's Click, started by the rendered command, with veth cables or, for DPDK, packet sockets on them."""
    server = plan.server("n0")
    for path, text in files(plan).items():
        if path.endswith(".click"):
            (folder / Path(path).name).write_text(text)
    names = [port.name for port in server.ports]
    address = server.ports[0].addresses[0].partition("/")[0]
    lines = ["set -e", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", "ip link set lo up"]
    for number, name in enumerate(names):
        mac = mac_of(number).hex(":")
        lines += [f"ip link add {name} address {mac} type veth peer name p-{name}"]
        # As rbops-node has it: the kernel gets nothing from a port that Click reads.
        lines += [f"tc qdisc add dev {name} clsact"]
        lines += [f"tc filter add dev {name} ingress protocol all bpf da bytecode '1,6 0 0 2'"]
        lines += [f"ip link set {name} up", f"ip link set p-{name} up"]
    lines += ["ip tuntap add dev rbops0 mode tap", "ip link set rbops0 arp off address 02:53:ff:ff:ff:01 up"]
    lines += [f"ip address add {address}/32 dev rbops0", "ip route add default dev rbops0"]
    lines += ["echo ready", "exec sleep infinity"]
    hold = ["unshare", "-n", "sh", "-c", "\n".join(lines)]
    with ExitStack() as stack:
        holder = stack.enter_context(subprocess.Popen(hold, stdout=subprocess.PIPE, text=True))
        stack.callback(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        namespace = f"/proc/{holder.pid}/ns/net"
        with inside(namespace):
            wires = {name: _wire(f"p-{name}") for name in names} | {"rbops0": _wire("rbops0")}
        for wire in wires.values():
            stack.enter_context(wire.socket)
        # Where DPDK keeps its lock, also of what is not shared.
        stack.callback(shutil.rmtree, f"/var/run/dpdk/{folder.name}", ignore_errors=True)
        argv = ["nsenter", f"--net={namespace}", *_argv(plan, click, package, folder, names)]
        log = stack.enter_context((folder / "log").open("w"))
        process = stack.enter_context(subprocess.Popen(argv, stdout=log, stderr=log))
        stack.callback(process.terminate)
        _wait(process, folder)
        yield Rig(wires, folder / "control")


def _wire(device: str) -> Wire:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    end.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
    end.bind((device, 0))
    return Wire(end)


def _argv(plan: ClusterPlan, click: Click, package: Path, folder: Path, names: list[str]) -> list[str]:
    """The unit's command with the test's places; DPDK without huge pages and PCI, and on this machine's CPUs."""
    server = plan.server("n0")
    words = [word for word in command(plan, server, str(click.prefix)) if word != "$PARAMETERS"]
    words[words.index("-C") + 1] = f"{package}:{folder}:"
    words[words.index(CONTROL)] = str(folder / "control")
    words[-1] = str(folder / "router.click")
    if "--dpdk" in words:
        cores = range(len(server.cores.dataplane))
        words[words.index("-l") + 1] = ",".join(str(number % (os.cpu_count() or 1)) for number in cores)
        bare = ["--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf", "--file-prefix", folder.name]
        bare += [f"--vdev=net_af_packet{i},iface={name},qpairs={len(cores)}" for i, name in enumerate(names)]
        at = words.index("--dpdk") + 1
        words[at:at] = bare
    return words


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with Control(folder / "control"):
                return
        except NoClick:
            running = process.poll() is None and time.monotonic() < deadline
            assert running, (folder / "log").read_text()[-3000:]
            time.sleep(0.02)
