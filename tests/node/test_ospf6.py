"""OSPF version 3 of a server's BIRD as rendered, beside a BIRD that speaks versions 2 and 3 to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from rbops.planner import load_plan
from tests.node.conftest import Server
from tests.node.speaking import ask, beside, entry, running, speaking, wait_for

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("bird", path="/usr/sbin:/usr/bin") is None, reason="needs bird2"),
    pytest.mark.xdist_group("server of ospf6"),
]

SPEC = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
  - {id: 3, ipv6: {address: "2001:db8:0:a3::1/64"}}
routing:
  daemon: bird
  as: 64512
  routes: 1000
  announce: ["2001:db8:aa::/48"]
  ospf: [{port: 0, cost: 7, routers: ["fe80::4e:ff:fe00:2"]}]
"""
TAG = 1380077392
PEER = f"""\
router id 198.18.0.2;
protocol device {{ }}
protocol static own4 {{ ipv4; route 100.64.0.0/16 blackhole; }}
protocol static own6 {{
  ipv6;
  route 2001:db8:c0::/48 blackhole;
  route 2001:db8:c1::/48 blackhole {{ ospf_tag = {TAG}; }};
  route 2001:db8:0:a3::/64 blackhole;
}}
protocol ospf v2 four {{
  ipv4 {{ import all; export where source = RTS_STATIC; }};
  area 0 {{ interface "p-ext0" {{ hello 1; dead count 4; }}; }};
}}
protocol ospf v3 six {{
  ipv6 {{ import all; export where source = RTS_STATIC; }};
  area 0 {{ interface "p-ext0" {{ hello 1; dead count 4; }}; }};
}}
"""
NEAR, NOWHERE = "port ext0 to 02:4e:00:00:00:02", "no route: the kernel"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With timers of a second, where OSPF's own are ten."""
    folder = tmp_path_factory.mktemp("server")
    with beside(folder, SPEC, "198.18.0.2/24", "2001:db8:0:a0::2/64", "fe80::4e:ff:fe00:2/64") as found:
        (folder / "peer.conf").write_text(PEER)
        quick = ("cost 7;", "cost 7; hello 1; dead count 4;")
        inside = ["ip", "netns", "exec", found.peer]
        with running(inside, folder, "peer.conf"), speaking(found, load_plan(folder / "router.yml"), "", quick):
            yield found


def test_routes_of_both_families_reach_the_data_plane(server: Server) -> None:
    for address in ("2001:db8:c0::9", "100.64.0.9"):
        wait_for(address, lambda address=address: entry(server, address) == NEAR)
    said = server.run("ip", "-6", "route", "show", "table", "82", "2001:db8:c0::/48").stdout
    assert "via fe80::4e:ff:fe00:2 dev ext0 proto bird" in said
    assert server.node("fib", "--audit") == server.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_its_own_and_the_ports_networks_do_not_come_in(server: Server) -> None:
    assert entry(server, "2001:db8:c1::9") == NOWHERE
    assert "proto bird" not in server.run("ip", "-6", "route", "show", "table", "82", "2001:db8:0:a3::/64").stdout


def test_the_peer_has_what_is_announced(server: Server) -> None:
    wait_for("the prefix", lambda: "2001:db8:aa::/48" in ask(server, "peer.conf", "show route protocol six"))


def test_a_neighbour_that_goes_takes_its_routes_along(server: Server) -> None:
    ask(server, "peer.conf", "disable six")
    wait_for("its end", lambda: entry(server, "2001:db8:c0::9") == NOWHERE)
    assert entry(server, "100.64.0.9") == NEAR
    ask(server, "peer.conf", "enable six")
    wait_for("its return", lambda: entry(server, "2001:db8:c0::9") == NEAR)
