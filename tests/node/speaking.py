"""A server in a namespace with its BIRD as rendered, and its data plane following: what tests of daemons share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rbops.node.daemon import Bird
from rbops.plan import ClusterPlan
from tests.node.conftest import ROOT, Server, command, made_server

__all__ = ["apply", "ask", "beside", "entry", "following", "running", "speaking", "wait_for"]

FOLLOW = """\
import sys
from pathlib import Path
from rbops.node import fib
from rbops.node.commands import Node
from rbops.node.dataplane import open_plane
from rbops.node.state import State
from rbops.node.system import Kernel
folder = Path(sys.argv[1])
node = Node(Kernel(), State(folder / "state"), folder / "etc/node.json", None, open_plane)
fib.Follower(node._followed(), print, folder / "fib.json", audits=False).run()
"""


@contextmanager
def beside(folder: Path, spec: str, *addresses: str) -> Iterator[Server]:
    """A server, and in the namespace ``peer`` what its ext0 leads to: a neighbour with these addresses.

    ``folder`` gets the spec as ``router.yml``, and ``peer.password``, which it may name.
    """
    (folder / "peer.password").touch(0o600)
    (folder / "peer.password").write_text("canary\n")
    (folder / "router.yml").write_text(spec)
    with made_server(folder) as found:
        command("ip", "-n", found.peer, "link", "set", "lo", "up")
        command("ip", "-n", found.peer, "link", "set", "p-ext0", "address", "02:4e:00:00:00:02")
        for address in addresses:
            options = ("nodad",) if ":" in address else ()
            command("ip", "-n", found.peer, "address", "add", address, "dev", "p-ext0", *options)
        yield found


@contextmanager
def running(enter: list[str], folder: Path, name: str) -> Iterator[None]:
    """BIRD with the configuration ``name`` in a namespace; ``birdc`` finds it at ``folder``/``name``.ctl."""
    files = ["-c", str(folder / name), "-s", str(folder / f"{name}.ctl")]
    process = subprocess.Popen([*enter, "bird", "-f", *files])
    try:
        wait_for(f"BIRD with {name}", lambda: (folder / f"{name}.ctl").exists() or process.poll() is not None, 20)
        assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def speaking(server: Server, plan: ClusterPlan, keys: str, *changes: tuple[str, str]) -> Iterator[None]:
    """The plan's n0 applied, its table followed, its BIRD running with ``changes`` made to its configuration."""
    folder = server.folder
    apply(server, plan)
    (server.etc / "bird" / "keys.conf").write_text(keys)
    run = folder / "run"
    devices = Path(f"/proc/{server.pid}/root/sys/class/net")
    Bird(server.etc / "bird", run, devices, (os.getuid(), os.getgid())).prepare({0: "ext0"})
    text = (run / "bird.conf").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (run / "quick.conf").write_text(text)
    inside = ["nsenter", f"--target={server.pid}", "--mount", "--net"]
    with following(server), running(inside, run, "quick.conf"):
        yield


def apply(server: Server, plan: ClusterPlan) -> None:
    """Let it be the plan's n0."""
    server.run("ip", "link", "set", "lo", "up")
    server.install(plan=plan)
    server.node("apply")


@contextmanager
def following(server: Server) -> Iterator[None]:
    """Its data plane's table follows the kernel's."""
    folder = server.folder
    (folder / "follow.py").write_text(FOLLOW)
    inside = ["nsenter", f"--target={server.pid}", "--mount", "--net"]
    follower = subprocess.Popen(
        [*inside, sys.executable, str(folder / "follow.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.wait(20)


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60) -> None:
    """Return when ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def ask(server: Server, who: str, question: str) -> str:
    """What birdc says: of the server's ``run/quick.conf``, or of ``peer.conf``."""
    return command("birdc", "-s", server.folder / f"{who}.ctl", question, check=False).stdout


def entry(server: Server, address: str) -> str:
    """What the data plane does with packets for an address."""
    return str(server.node("fib", "get", address)["data_plane"]["entry"])
