"""Two servers of a router in network namespaces, a Linux gateway as the peer of a tunnel, and a host at each server.

h0 -- ext0 [n0] int1 ---- int0 [n1] ext1 -- switch -- peer 198.18.1.2, 10.9.0.1 behind it
                                              h1 198.18.1.3
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbops.node import xfrm
from rbops.node.espsocket import opened
from rbops.node.schema import load
from rbops.node.tunnels import counted
from rbops.plan import ClusterPlan
from rbops.render import render
from rbops.spec.ipsec import Tunnel
from tests.node.conftest import Server, command
from tests.render.rb4 import mesh
from tests.support.esp import GCM, Peer, key_file
from tests.support.netns import inside

__all__ = ["CANARY", "FAR", "PEER", "Lab", "built", "plan"]

FAR = "10.9.0.1"
PEER = Peer("198.18.1.2", "198.18.1.1", "10.9.0.0/16", "198.18.0.0/16", 7, 2)
CANARY = b"canary that nobody may see"
_HOSTS = {"h0": ("198.18.0.2", "198.18.0.1"), "h1": ("198.18.1.3", "198.18.1.1")}


def plan(keys: Path, /, **changes: Any) -> ClusterPlan:
    """Two servers and one tunnel; ``changes`` are the tunnel's."""
    whole = mesh(2)
    words: dict[str, Any] = {"prefixes": ("10.9.0.0/16",), "sources": ("198.18.0.0/16",), "local": PEER.router}
    tunnel = Tunnel(peer=PEER.address, spi=PEER.spi, **{**words, "keys": str(keys), **changes})
    return replace(whole, forwarding=replace(whole.forwarding, application="ipsec", tunnels=(tunnel,)))


@dataclass
class Lab:
    """``servers`` by name, ``spaces``: names of the network namespaces of hosts and peer."""

    servers: dict[str, Server]
    spaces: dict[str, str]
    keys: Path

    def install(self, made: ClusterPlan, keys: tuple[str, ...] = GCM) -> None:
        """Files and keys on every server, as apply puts them there."""
        self.keys.write_text(key_file(keys))
        self.keys.chmod(0o600)
        rendered = render(made)
        for name, server in self.servers.items():
            server.put(rendered.files_of(name))
            secret = server.etc / "ipsec.keys"
            secret.unlink(missing_ok=True)
            if made.forwarding.tunnels:
                secret.write_text(" ".join(keys) + "\n")
                secret.chmod(0o600)

    def apply(self) -> dict[str, Any]:
        return {name: server.node("apply")["changes"] for name, server in self.servers.items()}

    def tunnel(self, name: str) -> dict[str, Any]:
        """What the only tunnel's associations on a server have counted."""
        server = self.servers[name]
        config = load(server.etc / "node.json").ipsec
        assert config is not None
        with inside(f"/proc/{server.pid}/ns/net"):
            (found,) = counted(xfrm.states(), config)
        return found

    def kernel(self, name: str) -> tuple[object, ...]:
        """What a server's kernel has of tunnels, without what it counted."""
        server = self.servers[name]
        with inside(f"/proc/{server.pid}/ns/net"):
            found = {state.said() for state in xfrm.states()}, set(xfrm.policies())
        shown = (("link", "show", "type", "xfrm"), ("route", "show", "table", "82"), ("address", "show", "dev", "lo"))
        return (*found, *(re.sub(r"(?m)^\d+: ", "", server.run("ip", "-o", *words).stdout) for words in shown))

    def peer(self, peer: Peer) -> None:
        """Set the peer up anew."""
        self.run("peer", "sh", "-c", "ip xfrm state flush; ip xfrm policy flush")
        self.run("peer", "ip", "-batch", "-", text=peer.batch())

    def run(self, space: str, *argv: str, text: str = "", check: bool = True) -> str:
        done = subprocess.run(
            ("ip", "netns", "exec", self.spaces[space], *argv), input=text, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{space}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def ping(
        self, space: str, target: str = FAR, *, source: str = "", count: int = 2, wait: int = 5, check: bool = True
    ) -> str:
        """Echo requests with the canary in them."""
        words = ("-I", source) if source else ()
        pattern = CANARY[:16].hex()
        line = ("ping", "-n", "-c", str(count), "-i", "0.2", "-W", str(wait), "-p", pattern, *words, target)
        return self.run(space, *line, check=check)

    @contextmanager
    def wire(self) -> Iterator[list[bytes]]:
        """Every frame between n1 and the peer's switch, while it lasts."""
        frames: list[bytes] = []
        with inside(self.spaces["peer"]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as link:
            link.bind(("p-ext1", 3))
            link.settimeout(0.2)
            going = threading.Event()
            reader = threading.Thread(target=_read, args=(link, frames, going))
            reader.start()
            try:
                yield frames
            finally:
                going.set()
                reader.join()

    @contextmanager
    def taking_udp(self) -> Iterator[None]:
        """The peer takes ESP out of UDP."""
        with inside(self.spaces["peer"]):
            held = opened(PEER.address, in_vrf=False)
        with held:
            yield

    @contextmanager
    def connected(self, space: str) -> Iterator[tuple[socket.socket, socket.socket]]:
        """The two ends of a TCP connection from a host to what is behind the peer."""
        with inside(self.spaces["peer"]):
            listener = socket.create_server((FAR, 7777))
        with inside(self.spaces[space]):
            client = socket.socket()
        with listener, client:
            client.settimeout(60)
            listener.settimeout(60)
            client.connect((FAR, 7777))
            server, _ = listener.accept()
            with server:
                server.settimeout(60)
                yield client, server

    def inject(self, frame: bytes) -> None:
        """Send a frame to n1 as if the peer had."""
        with inside(self.spaces["peer"]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind(("p-ext1", 3))
            link.send(frame)


def _read(link: socket.socket, frames: list[bytes], ended: threading.Event) -> None:
    while True:
        try:
            frames.append(link.recv(65536))
        except TimeoutError:
            if ended.is_set():
                return


@contextmanager
def built(folder: Path) -> Iterator[Lab]:
    """Namespaces, cables, the peer's switch and addresses; nothing of rbops yet."""
    tag = f"rbn-{os.getpid()}"
    names = {name: f"{tag}-{name}" for name in ("n0", "n1", "h0", "h1", "peer")}
    with ExitStack() as stack:
        for name in names.values():
            command("ip", "netns", "add", name)
            stack.callback(command, "ip", "netns", "del", name, check=False)
        _cable(names["n0"], "int1", names["n1"], "int0")
        _cable(names["n0"], "ext0", names["h0"], "eth0")
        _cable(names["n1"], "ext1", names["peer"], "p-ext1")
        command("ip", "-n", names["peer"], "link", "add", "p-h1", "type", "veth", "peer", "eth0", "netns", names["h1"])
        servers = {name: _server(stack, folder / name, names[name], names["peer"]) for name in ("n0", "n1")}
        lab = Lab(servers, {name: names[name] for name in ("h0", "h1", "peer")}, folder / "peer.keys")
        _ends(lab)
        yield lab


def _cable(a: str, one: str, b: str, other: str) -> None:
    queues = ("numrxqueues", "2", "numtxqueues", "2")
    command("ip", "-n", a, "link", "add", one, *queues, "type", "veth", "peer", "name", other, *queues, "netns", b)
    for space, device in ((a, one), (b, other)):
        # A tester's XDP program wants a queue for each that the server sends by.
        receive = "1" if device.startswith(("ext", "int")) else "2"
        command("ip", "netns", "exec", space, "ethtool", "-L", device, "rx", receive, "tx", "1")


def _server(stack: ExitStack, folder: Path, space: str, peer: str) -> Server:
    script = "ip link set lo up; mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep 1200"
    holder = subprocess.Popen(["ip", "netns", "exec", space, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    stack.callback(_end, holder)
    assert holder.stdout
    assert holder.stdout.readline() == "ready\n"
    found = Server(holder.pid, folder, peer)
    folder.mkdir()
    found.state.mkdir()
    found.etc.mkdir()
    return found


def _end(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    if holder.stdout:
        holder.stdout.close()


def _ends(lab: Lab) -> None:
    """Hosts, and the peer on a switch with one of them. GRO where XDP of the servers sends to, and no offloads."""
    plain = "ethtool -K {0} tx off tso off gso off gro on"
    for name, (address, gateway) in _HOSTS.items():
        mac = "ip link set eth0 address 02:4e:00:00:00:02 && " if name == "h0" else ""
        up = f"{mac}ip link set lo up && ip link set eth0 up && {plain.format('eth0')}"
        lab.run(name, "sh", "-c", f"{up} && ip address add {address}/24 dev eth0 && ip route add default via {gateway}")
    switch = "ip link add switch type bridge && ip link set switch address 02:4e:00:01:00:02"
    ports = " && ".join(f"ip link set {port} up master switch && {plain.format(port)}" for port in ("p-ext1", "p-h1"))
    own = f"ip address add {PEER.address}/24 dev switch && ip address add {FAR}/32 dev lo"
    lab.run("peer", "sh", "-c", f"{switch} && {ports} && ip link set switch up && ip link set lo up && {own}")
    lab.run("peer", "ip", "route", "add", "198.18.0.0/24", "via", PEER.router, "src", FAR)
