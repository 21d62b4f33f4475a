"""BIRD on a server of its own, beside a peer that is BIRD too: BGP with a password, BFD, OSPF, and the data plane.

Runs on kernels with and without VRFs (tests/fullkernel).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rbops.plan import BgpNeighbor, ClusterPlan, Daemon, OspfPort, Routing, Speaker
from tests.node.conftest import Server, command, made_server
from tests.node.speaking import ask, entry, running, speaking, wait_for
from tests.render.rb4 import mesh

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("bird", path="/usr/sbin:/usr/bin") is None, reason="needs bird2"),
    pytest.mark.xdist_group("server of routing_live"),
]

PEER = """\
log "{folder}/peer.log" all;
router id 198.18.0.2;
protocol device {{ }}
protocol bfd {{ interface "p-ext0" {{ interval 200 ms; multiplier 5; }}; }}
protocol static by_bgp {{ ipv4; route 192.0.2.0/24 blackhole; }}
protocol static by_ospf {{ ipv4; route 100.64.0.0/16 blackhole; }}
protocol bgp uplink {{
  local 198.18.0.2 as 65000;
  neighbor 198.18.0.1 as 64512;
  password "canary";
  bfd on;
  connect delay time 1;
  connect retry time 2;
  ipv4 {{ import all; export where proto = "by_bgp"; }};
}}
protocol ospf v2 beside {{
  ipv4 {{ import all; export where proto = "by_ospf"; }};
  area 0 {{ interface "p-ext0" {{ hello 1; dead count 4; }}; }};
}}
"""


def planned() -> ClusterPlan:
    """The paper's router with a neighbour of another AS on port 0."""
    speakers = tuple(Speaker(f"n{at}", f"198.18.{at}.1", f"198.18.{at}.1", reflector=False) for at in range(4))
    neighbor = BgpNeighbor(0, "198.18.0.2", 65000, "the password's file", None, None, bfd=True, families=("ipv4",))
    speaks = Daemon(64512, speakers, (neighbor,), ("198.51.100.0/24",), (OspfPort(0, "0.0.0.0", 10),), 0.2)  # noqa: S104
    return replace(mesh(4), routing=Routing("bird", 1000, speaks))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with made_server(folder) as found:
        command("ip", "-n", found.peer, "link", "set", "p-ext0", "address", "02:4e:00:00:00:02")
        command("ip", "-n", found.peer, "address", "add", "198.18.0.2/24", "dev", "p-ext0")
        (folder / "peer.conf").write_text(PEER.format(folder=folder))
        keys = 'define key_port0_198_18_0_2 = "canary";\n'
        with (
            running(["ip", "netns", "exec", found.peer], folder, "peer.conf"),
            speaking(found, planned(), keys, ("cost 10;", "cost 10; hello 1; dead count 4;")),
        ):
            yield found


def route(server: Server, prefix: str) -> str:
    return server.run("ip", "route", "show", prefix, "table", "82").stdout.strip()


def test_bgp_bfd_and_ospf_write_to_the_routers_table(server: Server) -> None:
    wait_for("BGP's route", lambda: "proto bird" in route(server, "192.0.2.0/24"))
    wait_for("OSPF's route", lambda: "proto bird" in route(server, "100.64.0.0/16"))
    assert route(server, "192.0.2.0/24") == "192.0.2.0/24 via 198.18.0.2 dev ext0 proto bird metric 32"
    assert "Established" in ask(server, "run/quick.conf", "show protocols port0_198_18_0_2")
    wait_for("BFD", lambda: "Up" in ask(server, "run/quick.conf", "show bfd sessions"))
    assert "Full" in ask(server, "run/quick.conf", "show ospf neighbors")


def test_the_peer_has_what_is_announced(server: Server) -> None:
    wait_for("the prefix by BGP", lambda: "198.51.100.0/24" in ask(server, "peer.conf", "show route protocol uplink"))
    wait_for("and by OSPF", lambda: "198.51.100.0/24" in ask(server, "peer.conf", "show route protocol beside"))
    # What it announced by OSPF it hears by BGP; its own prefix does not come back by either.
    assert "192.0.2.0/24" not in ask(server, "peer.conf", "show route protocol beside where source != RTS_OSPF_EXT2")


def test_the_data_plane_follows(server: Server) -> None:
    wait_for("the entry", lambda: entry(server, "192.0.2.9") == "port ext0 to 02:4e:00:00:00:02")
    assert entry(server, "100.64.9.9") == "port ext0 to 02:4e:00:00:00:02"
    assert server.node("fib", "--audit")["differences"] == 0
    ask(server, "peer.conf", "disable by_bgp")
    wait_for("its end", lambda: entry(server, "192.0.2.9") == "no route: the kernel")
    ask(server, "peer.conf", "enable by_bgp")
    wait_for("its return", lambda: entry(server, "192.0.2.9") == "port ext0 to 02:4e:00:00:00:02")


def test_ports_are_in_a_vrf_where_the_kernel_has_them(server: Server) -> None:
    """So that the same test on Debian's kernel has been about a VRF."""
    links = {link["ifname"]: link for link in server.json("ip", "-json", "link", "show") if link}
    in_vrf = "rbops" in links
    assert (links["ext0"].get("master") == "rbops") == in_vrf
    assert in_vrf == ('vrf "rbops";' in (server.folder / "run" / "vrf.conf").read_text())
    assert in_vrf or "FULL_KERNEL" not in os.environ
