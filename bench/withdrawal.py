"""How long a routing daemon's routes take to leave the kernels of four servers, with and without the watch.

    python -m bench.withdrawal [--routes 10000] [--json]

Four servers in network namespaces, each with rbops applied. All have that many routes of a daemon's protocol in table
82 and remove them at once, by `ip -batch`: without `rbops-node watch`, and with it, twice each. Seconds until the last
server has none, the means, and their ratio. Removing a route takes the kernel's lock of network settings, which all
namespaces of a machine have in common: whoever looks at links and rules meanwhile makes them wait.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.node import conftest
from tests.node.test_guard import watched

SERVERS, ROUNDS = 4, ("without", "with") * 2
_TOGETHER_S, _STARTED_S = 300, 6


def main() -> None:
    """Run it, and print a line for each way or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    together, said = context.Barrier(SERVERS), context.Queue()
    servers = [context.Process(target=_server, args=(options.routes, together, said)) for _ in range(SERVERS)]
    for server in servers:
        server.start()
    found: dict[str, list[list[float]]] = {"without": [], "with": []}
    for way in ROUNDS:
        found[way].append([said.get(timeout=2 * _TOGETHER_S) for _ in servers])
    for server in servers:
        server.join()
    means = {way: statistics.mean(max(times) for times in rounds) for way, rounds in found.items()}
    ratio = means["with"] / means["without"]
    if options.json:
        print(json.dumps({"routes": options.routes, "seconds": means, "ratio": ratio}))
        return
    for way, mean in means.items():
        print(f"{way} the watch: {options.routes:,} routes of each of {SERVERS} servers removed in {mean:.2f} s")
    print(f"ratio {ratio:.2f}")


def _server(routes: int, together: Barrier, said: Queue[float]) -> None:
    """One server; ``said`` gets the seconds of each round."""
    folder = Path(tempfile.mkdtemp())
    try:
        with conftest.made_server(folder) as server:
            server.install()
            server.node("apply")
            prefixes = [f"10.{number >> 8 & 255}.{number & 255}.0/24" for number in range(routes)]
            way = "table 82 proto bird metric 32"
            for verb, hop in (("add", "via 198.18.0.2 dev ext0 "), ("del", "")):
                (folder / verb).write_text("".join(f"route {verb} {each} {hop}{way}\n" for each in prefixes))
            for kind in ROUNDS:
                if kind == "without":
                    said.put(_removed(server, folder, together))
                    continue
                with watched(server, folder / "journal"):
                    time.sleep(_STARTED_S)
                    said.put(_removed(server, folder, together))
    finally:
        conftest._ANSWERS.close()  # noqa: SLF001 - this process ends with it
        shutil.rmtree(folder)


def _removed(server: conftest.Server, folder: Path, together: Barrier) -> float:
    server.run("ip", "-batch", folder / "add")
    together.wait(_TOGETHER_S)
    time.sleep(2)
    began = time.monotonic()
    server.run("ip", "-batch", folder / "del")
    took = time.monotonic() - began
    together.wait(_TOGETHER_S)
    return took


if __name__ == "__main__":
    main()
