"""A server of RB4 in a network namespace of its own, with real veths and the real data plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rbops.plan import ClusterPlan
from rbops.render import render
from rbops.render.files import File
from tests.render.rb4 import mesh

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).parent / "driver.py"
PORTS = ("ext0", "int1", "int2", "int3")
_MARK = "=== "
_EACH = f"for port in {' '.join(PORTS)}; do"
_LOOKS = {
    "links": "ip -json -details link show",
    "neighbors": "ip -json neigh show nud permanent",
    "addresses": "ip -4 -o address show",
    "filters": "nft -s list ruleset",
    "rules": "ip rule",
    "IPv6 rules": "ip -6 rule",
    "routes": "ip route show table all proto 82",
    # Some files of lo cannot be read: grep says so and goes on.
    "sysctl": "cd /proc/sys/net && grep -rs . ipv4/conf ipv4/ip_forward ipv4/icmp_errors_use_inbound_ifaddr "
    "ipv6/conf/*/disable_ipv6",
    "queues": "cd /sys/class/net && grep -s . [ei]*/queues/*/xps_cpus [ei]*/queues/*/rps_cpus",
    "channels": f"{_EACH} ethtool -l $port; done",
    "features": f"{_EACH} ethtool -k $port | grep receive-offload; done",
}
"""What to look at in the kernel, and how; in one shell, as an emulated machine takes long to start a program."""
_IN_ANY_ORDER = ("rules", "IPv6 rules", "sysctl", "queues")


class Answers:
    """rbops-node for all servers of this process: Python starts and imports once, which an emulated machine takes
    seconds for. Started when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit code and both outputs of a verb in the namespaces of a process: PID STATE CONFIG VERB."""
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            argv = [sys.executable, str(DRIVER), "serve"]
            self._process = subprocess.Popen(
                argv, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"argv": [str(word) for word in words], "timeout": 120}) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return said["code"], said["out"], said["err"]

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=10)
            self._process = None


_ANSWERS = Answers()


@pytest.fixture(scope="package", autouse=True)
def rbops_node_ends() -> Iterator[None]:
    """Nothing of rbops-node runs after this room's tests."""
    yield
    _ANSWERS.close()


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
        found, out, err = _ANSWERS.ask(str(self.pid), self.state, self.etc / "node.json", *verb)
        assert found == code, f"{verb}: {found}\n{out}\n{err}"
        if out:
            return json.loads(out)
        return next(json.loads(line)["error"] for line in err.splitlines() if line.startswith("{"))

    def json(self, *argv: str) -> Any:
        return json.loads(self.run(*argv).stdout or "[]")

    def install(self, kind: str = "xdp", plan: ClusterPlan | None = None, **changes: Any) -> None:
        """Put the rendered files of n0 where they belong, with parts of node.json replaced."""
        plan = plan or mesh(4)
        rendered = render(replace(plan, forwarding=replace(plan.forwarding, dataplane=kind)))
        self.put(rendered.files_of("n0"), **changes)

    def put(self, files: Iterable[File], **changes: Any) -> None:
        """Put what is rendered below /etc/rbops into ``etc``, with parts of node.json replaced."""
        for file in files:
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
        script = "".join(f"echo '{_MARK}{name}'; {line}\n" for name, line in _LOOKS.items())
        said = self.run("sh", "-c", f"{{ {script} }} 2>/dev/null; true").stdout
        parts = dict(part.split("\n", 1) for part in said.split(_MARK)[1:])
        links = {link["ifname"]: link for link in json.loads(parts.pop("links")) if link}
        neighbors = json.loads(parts.pop("neighbors") or "[]")
        return {
            "links": {
                port: {
                    "flags": sorted(links[port]["flags"]),
                    "mtu": links[port]["mtu"],
                    "xdp": links[port].get("xdp", {}).get("mode"),
                }
                for port in PORTS
            },
            "neighbors": sorted(f"{n['dev']} {n['dst']} {n['lladdr']}" for n in neighbors),
            **{name: sorted(text.splitlines()) if name in _IN_ANY_ORDER else text for name, text in parts.items()},
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
