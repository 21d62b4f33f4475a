"""A BGP neighbour that announces a whole table: BIRD beside one server, which runs BIRD too. In network namespaces.

    python -m bench.bgp [--routes 100000]

``kernel``: seconds from the session until the server's BIRD has written every route to the kernel, nobody following.
``filled``: the same with a follower beside, until the data plane has every route too, by what the follower says once a
second. ``withdrawn``: seconds from the session's end until the data plane has none of them. Needs root and bird2.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from bench.routes import bgp_like
from rbops.node.daemon import Bird
from tests.node.conftest import ROOT, Server, command, made_server
from tests.node.speaking import FOLLOW, ask, running
from tests.node.test_routing_live import planned

PEER = """\
router id 198.18.0.2;
protocol device {{ }}
protocol static whole_table {{ ipv4;
include "{folder}/table.conf";
}}
protocol bgp uplink {{
  local 198.18.0.2 as 65000;
  neighbor 198.18.0.1 as 64512;
  password "canary";
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import none; export all; }};
}}
"""


def until(condition: Callable[[], Any], seconds: float = 900) -> float:
    """Seconds until it holds."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise SystemExit("it takes too long")
        time.sleep(0.1)
    return time.monotonic() - begin


def exported(server: Server) -> int:
    """How many routes the server's BIRD has written to the kernel."""
    found = re.search(r"(\d+) exported", ask(server, "run/bird.conf", "show protocols all rbops_kernel"))
    return int(found[1]) if found else 0


def is_up(server: Server) -> bool:
    """Whether the session with the peer is."""
    return "Established" in ask(server, "run/bird.conf", "show protocols port0_198_18_0_2")


def followed(server: Server) -> int:
    """How many routes of BIRD's the follower has: what it says once a second, when it has applied them."""
    path = server.folder / "fib.json"
    return int(json.loads(path.read_text())["protocols"].get("12", 0)) if path.exists() else 0


def prepare(server: Server, routes: int) -> None:
    """The router's files, and the peer's table."""
    plan = planned()
    routing = replace(plan.routing, routes=routes + 1000)  # type: ignore[type-var]
    command("ip", "-n", server.peer, "link", "set", "p-ext0", "address", "02:4e:00:00:00:02")
    command("ip", "-n", server.peer, "address", "add", "198.18.0.2/24", "dev", "p-ext0")
    server.run("ip", "link", "set", "lo", "up")
    server.install(plan=replace(plan, routing=routing))
    server.node("apply")
    (server.etc / "bird" / "keys.conf").write_text('define key_port0_198_18_0_2 = "canary";\n')
    Bird(server.etc / "bird", server.folder / "run", Path("/nonexistent"), (os.getuid(), os.getgid())).prepare()
    conf = server.folder / "run" / "bird.conf"
    text = conf.read_text().replace("  bfd on;\n", "")
    conf.chmod(0o600)
    conf.write_text(text)
    prefixes, lengths, _ = bgp_like(routes + 1, [1])
    lines = [
        f"route {IPv4Address(prefix)}/{length} blackhole;"
        for prefix, length in zip(prefixes.tolist(), lengths.tolist(), strict=True)
        if length and not IPv4Address("198.16.0.0") <= IPv4Address(prefix) <= IPv4Address("198.19.255.255")
    ]
    (server.folder / "table.conf").write_text("\n".join(lines) + "\n")
    (server.folder / "peer.conf").write_text(PEER.format(folder=server.folder))


def measure(server: Server, routes: int) -> dict[str, Any]:
    """The kernel alone, then with a follower, then the peer's end."""
    prepare(server, routes)
    count = len((server.folder / "table.conf").read_text().splitlines())
    inside = ["nsenter", f"--target={server.pid}", "--mount", "--net"]
    peer = ["ip", "netns", "exec", server.peer]
    (server.folder / "follow.py").write_text(FOLLOW)
    with running(peer, server.folder, "peer.conf"):
        with running(inside, server.folder / "run", "bird.conf"):
            until(lambda: is_up(server))
            kernel = until(lambda: exported(server) >= count)
        follower = subprocess.Popen(
            [*inside, sys.executable, str(server.folder / "follow.py"), str(server.folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            until((server.folder / "fib.json").exists)
            with running(inside, server.folder / "run", "bird.conf"):
                until(lambda: is_up(server))
                filled = until(lambda: followed(server) >= count)
                memory = command("ps", "-o", "rss=", "-C", "bird").stdout.split()
                differences = server.node("fib", "--audit", code=0)["differences"]
                ask(server, "peer.conf", "disable uplink")
                withdrawn = until(lambda: followed(server) == 0)
            own = int(Path(f"/proc/{follower.pid}/status").read_text().split("VmRSS:")[1].split()[0])
        finally:
            follower.kill()
            follower.wait()
    return {
        "routes": count,
        "kernel_s": round(kernel, 1),
        "filled_s": round(filled, 1),
        "filled_to_kernel": round(filled / kernel, 2),
        "withdrawn_s": round(withdrawn, 1),
        "differences": differences,
        "bird_mib": max(int(rss) for rss in memory) >> 10,
        "follower_mib": own >> 10,
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=100_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(made_server(folder))
        print(json.dumps(measure(server, options.routes), indent=2))


if __name__ == "__main__":
    main()
