"""Three ASs beside the router, each a BIRD, whichever daemon the router's servers run; and what holds with any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.driver import Cluster, wait_for
from tests.system.peers import ROUTER_AS, Peer, peer
from tests.system.test_routing import audit, get

__all__ = [
    "PASSWORD",
    "ROUTING",
    "SERVERS",
    "entry",
    "meet",
    "outlive",
    "ping",
    "routes_go_and_come",
    "sessions",
    "three_ases",
]

PASSWORD = "canary-5Tq9-of-a-password"  # noqa: S105 - looked for where it must not be
SERVERS = ("n0", "n1", "n2", "n3")
PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
ROUTING = "\n" + re.search(r"^routing:\n  daemon: bird\n(  .*\n)+", PAGE, re.MULTILINE)[0]  # type: ignore[index]
"""The worked example of docs/routing.md."""


@contextmanager
def three_ases(router: Cluster) -> Iterator[dict[int, Peer]]:
    """AS 65000 on port 0 and, a longer way round, AS 65001 on port 1 have 100.64.0.0/24; AS 65003 on port 3 is far."""
    longer = "bgp_path.prepend(65001);"
    with (
        peer(router, 0, 65000, ("100.64.0.0/24",), options=f'bfd on; password "{PASSWORD}";') as zero,
        peer(router, 1, 65001, ("100.64.0.0/24",), prepend=longer) as one,
        peer(router, 3, 65003, ("192.0.2.0/24", "100.64.3.0/24"), options="") as three,
    ):
        found = {0: zero, 1: one, 3: three}
        for each in found.values():
            wait_for(f"the session on port {each.port}", lambda each=each: each.since())
        yield found


def entry(router: Cluster, server: str, address: str) -> str:
    """What a server's data plane does with packets for an address."""
    return str(get(router, server, address)["data_plane"]["entry"])


def sessions(router: Cluster, server: str) -> dict[str, Any]:
    said = json.loads(router.on(server, "rbops-node", "daemon", "status", "--json"))
    return {each["name"]: each for each in said["sessions"]}


def ping(router: Cluster, count: int = 3) -> str:
    command = ("ping", "-n", "-c", str(count), "-i", "0.1", "-W", "2", "-I", "192.0.2.1", "100.64.0.1")
    return router.on("t3", *command, check=False)


def meet(router: Cluster, peers: dict[int, Peer]) -> None:
    """The far ASs have each other's routes, what the router announces, and nothing that a filter keeps back."""
    wait_for("the far AS", lambda: peers[3].path_to("100.64.0.0/24") == f"{ROUTER_AS} 65000")
    wait_for("the way back", lambda: peers[0].path_to("192.0.2.0/24") == f"{ROUTER_AS} 65003")
    assert peers[3].path_to("198.51.100.0/24") == str(ROUTER_AS)
    assert peers[0].path_to("100.64.3.0/24") is None
    wait_for("n3's data plane", lambda: entry(router, "n3", "100.64.0.1") == "server 0, port 0, adjacency 1")


def routes_go_and_come(router: Cluster, peers: dict[int, Peer]) -> None:
    """With what the far AS announces."""
    peers[3].ask("disable net0")
    wait_for("its end at AS 65000", lambda: peers[0].path_to("192.0.2.0/24") is None)
    wait_for("its end on n2", lambda: entry(router, "n2", "192.0.2.1") == "no route: the kernel")
    peers[3].ask("enable net0")
    wait_for("its return", lambda: entry(router, "n2", "192.0.2.1") == "server 3, port 3, adjacency 1")


def outlive(router: Cluster, peers: dict[int, Peer], unit: str, kill: Callable[[], object]) -> None:
    """n3's daemon is killed. Port 3's session has no BFD, so the peer keeps the routes until the daemon is back."""
    first = peers[3].since()
    pid = router.on("n3", "systemctl", "show", "-P", "MainPID", unit).strip()
    kill()
    assert "20 received" in ping(router, 20)
    wait_for("the session", lambda: peers[3].since() not in ("", first))
    assert router.on("n3", "systemctl", "show", "-P", "MainPID", unit).strip() != pid
    wait_for("the route", lambda: peers[3].path_to("100.64.0.0/24") == f"{ROUTER_AS} 65000")
    wait_for("n3", lambda: audit(router, "n3")["differences"] == 0)
    assert "3 received" in ping(router)
