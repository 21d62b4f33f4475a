"""A server of RB4 in a network namespace of its own, with real veths and the real data plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rbops.plan import ClusterPlan
from rbops.render import render
from tests.render.rb4 import mesh

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).parent / "driver.py"
PORTS = ("ext0", "int1", "int2", "int3")


def command(*argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=check, timeout=120)


@dataclass(frozen=True)
class Server:
    """Runs commands inside; ``folder`` stands for /etc/rbops and /var/lib/rbops."""

    pid: int
    folder: Path
    peer: str

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def run(self, *argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return command("nsenter", f"--target={self.pid}", "--mount", "--net", *argv, check=check)

    def node(self, *verb: str, code: int = 0) -> Any:
        """Run a verb of rbops-node; its JSON, or the error when it prints none."""
        config = self.etc / "node.json"
        environment = f"PYTHONPATH={ROOT}"
        done = self.run("env", environment, sys.executable, DRIVER, self.state, config, *verb, check=False)
        assert done.returncode == code, f"{verb}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        if done.stdout:
            return json.loads(done.stdout)
        return next(json.loads(line)["error"] for line in done.stderr.splitlines() if line.startswith("{"))

    def json(self, *argv: str) -> Any:
        return json.loads(self.run(*argv).stdout or "[]")

    def install(self, kind: str = "xdp", plan: ClusterPlan | None = None, **changes: Any) -> None:
        """Put the rendered files of n0 where they belong, with parts of node.json replaced."""
        plan = plan or mesh(4)
        rendered = render(replace(plan, forwarding=replace(plan.forwarding, dataplane=kind)))
        for file in rendered.files_of("n0"):
            if file.path.startswith("/etc/rbops/"):
                content = file.content
                if file.path.endswith("node.json"):
                    text = content.decode().replace("/etc/rbops/", f"{self.etc}/")
                    content = json.dumps({**json.loads(text), **changes}).encode()
                target = self.etc / file.path.removeprefix("/etc/rbops/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def kernel(self) -> dict[str, Any]:
        """What the kernel says of all that rbops touches."""
        links = {link["ifname"]: link for link in self.json("ip", "-json", "-details", "link", "show") if link}
        neighbors = self.json("ip", "-json", "neigh", "show", "nud", "permanent")
        # Some files of lo cannot be read: grep says so and goes on.
        places = "ipv4/conf ipv4/ip_forward ipv4/icmp_errors_use_inbound_ifaddr ipv6/conf/*/disable_ipv6"
        sysctl = self.run("sh", "-c", f"cd /proc/sys/net && grep -rs . {places}; true")
        masks = "[ei]*/queues/*/xps_cpus [ei]*/queues/*/rps_cpus"
        queues = self.run("sh", "-c", f"cd /sys/class/net && grep -s . {masks}; true")
        return {
            "links": {
                port: {
                    "flags": sorted(links[port]["flags"]),
                    "mtu": links[port]["mtu"],
                    "xdp": links[port].get("xdp", {}).get("mode"),
                }
                for port in PORTS
            },
            "addresses": self.run("ip", "-4", "-o", "address", "show").stdout,
            "neighbors": sorted(f"{n['dev']} {n['dst']} {n['lladdr']}" for n in neighbors),
            "filters": self.run("nft", "-s", "list", "ruleset").stdout,
            "rules": sorted(self.run("ip", "rule").stdout.splitlines()),
            "IPv6 rules": sorted(self.run("ip", "-6", "rule").stdout.splitlines()),
            "routes": self.run("ip", "route", "show", "table", "all", "proto", "82").stdout,
            "sysctl": sorted(sysctl.stdout.splitlines()),
            "queues": sorted(queues.stdout.splitlines()),
            "channels": [self.run("ethtool", "-l", port).stdout for port in PORTS],
            "features": [
                line
                for port in PORTS
                for line in self.run("ethtool", "-k", port).stdout.splitlines()
                if "receive-offload" in line
            ],
        }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server for a test."""
    with made_server(tmp_path) as found:
        yield found


@contextmanager
def made_server(folder: Path) -> Iterator[Server]:
    """n0's devices with one active queue each, as a kernel makes them; the cables end in a second namespace."""
    own, peer = (f"rbn-{os.getpid()}-{side}" for side in "ab")
    holder = None
    try:
        for name in (own, peer):
            command("ip", "netns", "add", name)
        for port in PORTS:
            words = ("numrxqueues", "2", "numtxqueues", "2")
            command(
                "ip",
                "-n",
                own,
                "link",
                "add",
                port,
                *words,
                "type",
                "veth",
                "peer",
                "name",
                f"p-{port}",
                *words,
                "netns",
                peer,
            )
            command("ip", "netns", "exec", own, "ethtool", "-L", port, "rx", "1", "tx", "1")
            # A program needs as many receive queues as the other end has to transmit.
            command("ip", "netns", "exec", peer, "ethtool", "-L", f"p-{port}", "rx", "1", "tx", "1")
            command("ip", "-n", peer, "link", "set", f"p-{port}", "up")
        script = "mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep 600"
        holder = subprocess.Popen(["ip", "netns", "exec", own, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        found = Server(holder.pid, folder, peer)
        found.state.mkdir()
        found.etc.mkdir()
        yield found
        pid = folder / "state" / "timer.pid"
        if pid.exists():
            command("kill", pid.read_text(), check=False)
    finally:
        if holder:
            holder.kill()
            holder.wait()
            if holder.stdout:
                holder.stdout.close()
        for name in (own, peer):
            command("ip", "netns", "del", name, check=False)
