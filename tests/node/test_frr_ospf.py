"""A server's FRR with OSPF as rendered, beside a BIRD that speaks OSPF and BGP to it.

FRR writes OSPF's routes to the table of a VRF alone: on a kernel without VRFs the server refuses the plan.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rbops.planner import load_plan
from tests.node.conftest import Server
from tests.node.frr import is_installed
from tests.node.speaking import apply, ask, beside, entry, following, wait_for
from tests.node.speaking import running as bird
from tests.node.test_frr_rendered import NEAR, Own, running

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_installed(), reason="needs frr"),
    pytest.mark.skipif(shutil.which("bird", path="/usr/sbin:/usr/bin") is None, reason="needs bird2"),
    pytest.mark.xdist_group("server of frr_ospf"),
]

SPEC = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
routing:
  daemon: frr
  as: 64512
  routes: 1000
  announce: [198.51.100.0/24]
  ospf: [{port: 0, cost: 7}, {port: 1, area: 2}]
  neighbors: [{address: 198.18.0.2, as: 65000}]
"""
QUICK = " ip ospf cost 7\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n"
TAG = 1380077392
PEER = f"""\
router id 198.18.0.2;
protocol device {{ }}
protocol static by_bgp {{ ipv4; route 192.0.2.0/24 blackhole; route 0.0.0.0/0 blackhole; }}
protocol static by_ospf {{
  ipv4;
  route 100.64.0.0/16 blackhole;
  route 192.0.3.0/24 blackhole {{ ospf_tag = {TAG}; }};
  route 198.18.3.0/24 blackhole;
}}
protocol bgp uplink {{
  local 198.18.0.2 as 65000;
  neighbor 198.18.0.1 as 64512;
  connect delay time 1;
  connect retry time 2;
  ipv4 {{ import all; export where proto = "by_bgp"; }};
}}
protocol ospf v2 beside {{
  ipv4 {{ import all; export where proto = "by_ospf"; }};
  area 0 {{ interface "p-ext0" {{ hello 1; dead count 4; }}; }};
}}
"""


def has_vrfs(server: Server) -> bool:
    said = server.run("ip", "link", "add", "x", "type", "vrf", check=False).stderr
    return "table" in said


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server without anything of rbops on it, and its peer."""
    folder = tmp_path_factory.mktemp("server")
    with beside(folder, SPEC, "198.18.0.2/24") as found:
        yield found


@pytest.fixture(scope="module")
def own(bare: Server) -> Iterator[Own]:
    """With its FRR, and with the peer's BIRD. Timers of a second, where OSPF's own are ten."""
    if not has_vrfs(bare):
        pytest.skip("this kernel has no VRFs: tests/fullkernel has them")
    (bare.folder / "peer.conf").write_text(PEER)
    with ExitStack() as held:
        apply(bare, load_plan(bare.folder / "router.yml"))
        path = bare.etc / "frr" / "frr.conf"
        text = path.read_text()
        assert " ip ospf cost 7\n" in text
        path.write_text(text.replace(" ip ospf cost 7\n", QUICK))
        held.enter_context(following(bare))
        held.enter_context(bird(["ip", "netns", "exec", bare.peer], bare.folder, "peer.conf"))
        yield held.enter_context(running(bare))


def leads(own: Own, address: str, to: str) -> None:
    """Wait until the data plane sends packets for an address there."""
    wait_for(f"{address}: {to}", lambda: entry(own.server, address) == to)


def session(own: Own) -> dict[str, Any]:
    said = own.frr.status()
    assert said is not None
    assert not said.get("error"), said
    return next(each for each in said["sessions"] if each["protocol"] == "ospf")


def test_a_kernel_without_vrfs_is_refused(bare: Server) -> None:
    if has_vrfs(bare):
        pytest.skip("this kernel has VRFs")
    bare.install(plan=load_plan(bare.folder / "router.yml"))
    before = bare.kernel()
    wrong = bare.node("apply", code=3)
    assert wrong["code"] == "node.no-vrf"
    assert "for OSPF write `daemon: bird`" in wrong["hint"]
    assert bare.kernel() == before


def test_routes_of_ospf_reach_the_data_plane(own: Own) -> None:
    leads(own, "100.64.0.9", NEAR)
    leads(own, "192.0.2.9", NEAR)
    assert "proto ospf" in own.server.run("ip", "route", "show", "table", "82", "100.64.0.0/16").stdout
    assert own.server.node("fib", "--audit") == own.server.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_what_it_announced_itself_and_its_own_networks_do_not_come_in(own: Own) -> None:
    """By the default route, which BGP has, goes what is in no other."""
    leads(own, "192.0.3.9", NEAR)
    for prefix in ("192.0.3.0/24", "198.18.3.0/24"):
        assert "proto ospf" not in own.server.run("ip", "route", "show", "table", "82", prefix).stdout
    assert "proto bgp" in own.server.run("ip", "route", "show", "table", "82", "default").stdout


def test_the_peer_has_what_bgp_and_the_router_have(own: Own) -> None:
    """And by BGP what OSPF has."""
    wait_for("the router's", lambda: "198.51.100.0/24" in ask(own.server, "peer.conf", "show route protocol beside"))
    # The next hop of these is the peer itself: it knows of them, and has no use for them.
    for number in ("192.0.2.0", "0.0.0.0"):  # noqa: S104 - a prefix
        line = re.compile(rf"^\s*\S+\s+{re.escape(number)}\s+198\.18\.0\.1\s", re.MULTILINE)
        wait_for(number, lambda line=line: line.search(ask(own.server, "peer.conf", "show ospf lsadb global")))
    announced = "show bgp vrf rbops ipv4 unicast neighbors 198.18.0.2 advertised-routes json"
    wait_for("by BGP", lambda: "100.64.0.0/16" in asked(own, announced, "bgpd"))


def test_the_status_has_it_as_one_session(own: Own) -> None:
    found = session(own)
    assert (found["name"], found["up"], found["info"], found["imported"]) == ("rbops_ospf", True, "Running", 1)
    assert found["since"] != "-"


def test_the_running_one_takes_another_cost(own: Own) -> None:
    path = own.frr.etc / "frr.conf"
    text = path.read_text()
    path.write_text(text.replace(" ip ospf cost 7\n", " ip ospf cost 8\n"))
    before = session(own)["since"]
    assert own.frr.reload(own.around) == "changed"
    wait_for("the cost", lambda: '"cost":8' in asked(own, "show ip ospf vrf all interface json"))
    assert abs(_seconds(session(own)["since"]) - _seconds(before)) <= 2, "the neighbour is the same one"
    assert entry(own.server, "100.64.0.9") == NEAR


def test_a_port_that_speaks_no_more(own: Own) -> None:
    path = own.frr.etc / "frr.conf"
    text = path.read_text()
    block = text[text.index("interface @port0@\n") : text.index("router ospf")]
    path.write_text(text.replace(block, ""))
    assert own.frr.reload(own.around) == "changed"
    wait_for("its end", lambda: session(own)["info"] == "Alone")
    wait_for("its route's end", lambda: "proto ospf" not in own.server.run("ip", "route", "show", "table", "82").stdout)
    path.write_text(text)
    assert own.frr.reload(own.around) == "changed"
    wait_for("its return", lambda: session(own)["imported"] == 1)


def asked(own: Own, question: str, daemon: str = "ospfd") -> str:
    """What one of its daemons says, without spaces."""
    said = own.frr._said(daemon, question)
    return json.dumps(said, separators=(",", ":"))


def _seconds(stamp: str) -> int:
    hours, minutes, seconds = stamp.split()[1].split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
