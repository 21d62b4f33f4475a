"""A server's FRR as rendered, beside another AS's FRR: both families, the spec's static routes, and a change.

Runs on kernels with and without VRFs (scripts/full-kernel).
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbops.node.frrd import Frr, Surroundings
from rbops.planner import load_plan
from tests.node.conftest import ROOT, Server
from tests.node.frr import Frr as Peer
from tests.node.frr import frr, is_installed
from tests.node.speaking import apply, beside, entry, following, wait_for
from tests.node.test_frr_own import lines

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_installed(), reason="needs frr"),
    pytest.mark.xdist_group("server of frr_rendered"),
]

SPEC = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
  - {id: 1, ipv6: {address: "2001:db8:0:a1::1/64", neighbors: [{address: "2001:db8:0:a1::2"}]}}
routes:
  - {prefix: 203.0.113.0/24, via: 198.18.1.2}
  - {prefix: "2001:db8:c5::/48", via: "2001:db8:0:a1::2"}
routing:
  daemon: frr
  as: 64512
  routes: 1000
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  neighbors:
    - {address: 198.18.0.2, as: 65000, password: peer.password, import: [192.0.2.0/24, 203.0.113.0/24, 198.18.3.0/24]}
    - {address: "2001:db8:0:a0::2", as: 65000}
"""
PEER = """\
frr defaults traditional
ip route 192.0.2.0/24 blackhole
ip route 203.0.113.0/24 blackhole
ip route 100.64.0.0/16 blackhole
ip route 198.18.3.0/24 blackhole
ipv6 route 2001:db8:c0::/48 blackhole
ipv6 route 2001:db8:c5::/48 blackhole
router bgp 65000
 bgp router-id 198.18.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 10 30
 neighbor 198.18.0.1 remote-as 64512
 neighbor 198.18.0.1 password canary
 neighbor 198.18.0.1 timers connect 2
 neighbor 2001:db8:0:a0::1 remote-as 64512
 neighbor 2001:db8:0:a0::1 timers connect 2
 address-family ipv4 unicast
  network 192.0.2.0/24
  network 203.0.113.0/24
  network 100.64.0.0/16
  network 198.18.3.0/24
  neighbor 198.18.0.1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:c0::/48
  network 2001:db8:c5::/48
  neighbor 2001:db8:0:a0::1 activate
 exit-address-family
"""
NEAR, FAR = "port ext0 to 02:4e:00:00:00:02", "server 1, port 1, adjacency "


@dataclass(frozen=True)
class Own:
    """The server and its FRR."""

    server: Server
    frr: Frr

    @property
    def around(self) -> Surroundings:
        found = [line for line in lines(self.server).splitlines() if line.startswith(("ip route", "ipv6 route"))]
        return Surroundings({0: "ext0"}, tuple(found))


@contextmanager
def running(server: Server, key: str = "key_port0_198_18_0_2") -> Iterator[Own]:
    """FRR as rendered, while the block runs; ``key`` is the name of its password."""
    folder = Path(tempfile.mkdtemp(prefix="rbops-frr-"))
    user = pwd.getpwnam("frr")
    os.chown(folder, user.pw_uid, user.pw_gid)
    links = Path(f"/proc/{server.pid}/root/sys/class/net")
    own = Own(server, Frr(server.etc / "frr", folder, links, owner=(user.pw_uid, user.pw_gid)))
    (server.etc / "frr" / "keys.conf").write_text(f'define {key} = "canary";\n')
    own.frr.prepare(own.around)
    code = "import sys; from pathlib import Path; from rbops.node.frrun import run; run(Path(sys.argv[1]))"
    inside = ["nsenter", f"--target={server.pid}", "--mount", "--net"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*inside, sys.executable, "-c", code, str(folder)], env=environment)
    try:
        wait_for("FRR", lambda: (folder / "ready").exists() or process.poll() is not None)
        assert process.poll() is None
        yield own
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(folder)
    for family in ("-4", "-6"):
        left = server.run("ip", family, "route", "show", "table", "all").stdout
        assert "proto bgp" not in left
        assert "proto static" not in left


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Own, Peer]]:
    """The server's own, and the other AS's."""
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as held:
        found = held.enter_context(beside(folder, SPEC, "198.18.0.2/24", "2001:db8:0:a0::2/64"))
        apply(found, load_plan(folder / "router.yml"))
        held.enter_context(following(found))
        own = held.enter_context(running(found))
        yield own, held.enter_context(frr(("ip", "netns", "exec", found.peer), PEER))


def leads(own: Own, address: str, to: str) -> None:
    """Wait until the data plane sends packets for an address there."""
    wait_for(f"{address}: {to}", lambda: entry(own.server, address) == to)


def accepted(own: Own) -> dict[str, int]:
    """Routes of each session that is up."""
    said = own.frr.status()
    assert said is not None
    return {each["name"]: each["imported"] for each in said["sessions"] if each["up"]}


def test_routes_of_both_families_reach_the_data_plane(server: tuple[Own, Peer]) -> None:
    own, _ = server
    leads(own, "192.0.2.9", NEAR)
    leads(own, "2001:db8:c0::9", NEAR)
    assert accepted(own) == {"port0_198_18_0_2": 2, "port0_2001_db8_0_a0__2": 2}
    assert own.server.node("fib", "--audit") == own.server.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_static_routes_of_the_spec_come_first(server: tuple[Own, Peer]) -> None:
    own, _ = server
    leads(own, "203.0.113.9", f"{FAR}1")
    leads(own, "2001:db8:c5::9", f"{FAR}2")
    assert "proto bgp" not in own.server.run("ip", "route", "show", "table", "82", "203.0.113.0/24").stdout


def test_a_filter_and_the_routers_own_networks(server: tuple[Own, Peer]) -> None:
    """What import does not name, and a port's network, which a filter of the user's would let in."""
    own, _ = server
    assert entry(own.server, "100.64.0.9") == "no route: the kernel"
    assert "proto bgp" not in own.server.run("ip", "route", "show", "table", "82", "198.18.3.0/24").stdout


def test_the_peer_has_what_is_announced(server: tuple[Own, Peer]) -> None:
    _, peer = server
    for family, prefix in (("ip", "198.51.100.0/24"), ("ipv6", "2001:db8:aa::/48")):
        ask = f"show {family} route bgp json"
        wait_for(prefix, lambda ask=ask, prefix=prefix: prefix in json.loads(peer.ask(ask) or "{}"))


def test_the_running_one_takes_a_change(server: tuple[Own, Peer]) -> None:
    own, peer = server
    path = own.frr.etc / "frr.conf"
    text = path.read_text()
    list_ = "ip prefix-list port0_198_18_0_2-ipv4-in permit "
    assert f"{list_}192.0.2.0/24\n" in text
    path.write_text(text.replace(f"{list_}192.0.2.0/24\n", f"{list_}100.64.0.0/16\n"))
    before = peer.ask("show bgp ipv4 unicast summary json")
    assert own.frr.reload(own.around) == "changed"
    leads(own, "100.64.0.9", NEAR)
    leads(own, "192.0.2.9", "no route: the kernel")
    dropped = json.loads(peer.ask("show bgp ipv4 unicast summary json"))["peers"]["198.18.0.1"]["connectionsDropped"]
    assert dropped == json.loads(before)["peers"]["198.18.0.1"]["connectionsDropped"]
    path.write_text(text)
    assert own.frr.reload(own.around) == "changed"
    leads(own, "192.0.2.9", NEAR)


def test_a_session_that_goes_takes_its_routes_along(server: tuple[Own, Peer]) -> None:
    own, _ = server
    path = own.frr.etc / "frr.conf"
    text = path.read_text()
    path.write_text("".join(line for line in text.splitlines(keepends=True) if "neighbor 198.18.0.2 " not in line))
    assert own.frr.reload(own.around) == "changed"
    leads(own, "192.0.2.9", "no route: the kernel")
    assert accepted(own) == {"port0_2001_db8_0_a0__2": 2}
    assert own.server.node("fib", "--audit") == own.server.node("fib", "--audit") | {"differences": 0, "unresolved": 0}
