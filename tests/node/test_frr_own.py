"""An FRR of the user's own on a server, with the lines that rbops-node has for it: routes come to the data plane.

Runs on kernels with and without VRFs (tests/fullkernel).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from rbops.planner import load_plan
from tests.node.conftest import DRIVER, ROOT, Server
from tests.node.frr import Frr, frr, is_installed
from tests.node.speaking import apply, beside, entry, following, wait_for

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_installed(), reason="needs frr"),
    pytest.mark.xdist_group("server of frr_own"),
]

SPEC = """\
router: {external_ports: 4, line_rate: 10Mbps, services: [bgp]}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
  - {id: 1, ipv6: {address: "2001:db8:0:a1::1/64", neighbors: [{address: "2001:db8:0:a1::2"}]}}
routing: {daemon: none, routes: 1000}
"""
OWN = """\
router bgp 64512{vrf}
 bgp router-id 198.18.0.1
 no bgp default ipv4-unicast
 neighbor 198.18.0.2 remote-as 64512
 neighbor 198.18.0.2 timers connect 2
 neighbor 2001:db8:0:a0::2 remote-as 64512
 neighbor 2001:db8:0:a0::2 timers connect 2
 address-family ipv4 unicast
  neighbor 198.18.0.2 activate
  neighbor 198.18.0.2 route-map rbops in
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:0:a0::2 activate
  neighbor 2001:db8:0:a0::2 route-map rbops in
 exit-address-family
"""
BESIDE = """\
route-map rbops permit 10
 set ipv6 next-hop prefer-global
exit
"""
"""This one is on the same link, so that its link-local address goes with each next hop; other servers are not."""
OTHER = """\
ip route 192.0.2.0/24 blackhole
ip route 100.64.0.0/16 blackhole
ipv6 route 2001:db8:c0::/48 blackhole
ipv6 route 2001:db8:c1::/48 blackhole
ip prefix-list far permit 100.64.0.0/16
ipv6 prefix-list far permit 2001:db8:c1::/48
route-map four permit 10
 match ip address prefix-list far
 set ip next-hop 198.18.1.2
exit
route-map four permit 20
exit
route-map six permit 10
 match ipv6 address prefix-list far
 set ipv6 next-hop global 2001:db8:0:a1::2
exit
route-map six permit 20
exit
router bgp 64512
 bgp router-id 198.18.0.2
 no bgp default ipv4-unicast
 neighbor 198.18.0.1 remote-as 64512
 neighbor 2001:db8:0:a0::1 remote-as 64512
 address-family ipv4 unicast
  network 192.0.2.0/24
  network 100.64.0.0/16
  neighbor 198.18.0.1 activate
  neighbor 198.18.0.1 route-map four out
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:c0::/48
  network 2001:db8:c1::/48
  neighbor 2001:db8:0:a0::1 activate
  neighbor 2001:db8:0:a0::1 route-map six out
 exit-address-family
"""
"""By iBGP, as servers tell each other: of each family a prefix of its own, and one of a far port's neighbour's."""
NEAR, FAR = "port ext0 to 02:4e:00:00:00:02", "server 1, port 1, adjacency "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Frr, Frr]]:
    """The server, its FRR, and the other one."""
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as held:
        found = held.enter_context(beside(folder, SPEC, "198.18.0.2/24", "2001:db8:0:a0::2/64"))
        apply(found, load_plan(folder / "router.yml"))
        held.enter_context(following(found))
        other = held.enter_context(frr(("ip", "netns", "exec", found.peer), OTHER))
        inside = ("nsenter", f"--target={found.pid}", "--mount", "--net")
        own = held.enter_context(frr(inside, configuration(found)))
        yield found, own, other


def lines(server: Server) -> str:
    """What rbops-node has for it."""
    words = (DRIVER, server.state, server.etc / "node.json", "daemon", "frr")
    return server.run("env", f"PYTHONPATH={ROOT}", sys.executable, *words).stdout


def in_vrf(server: Server) -> bool:
    return any(link.get("ifname") == "rbops" for link in server.json("ip", "-json", "link", "show"))


def configuration(server: Server) -> str:
    """Those lines, and sessions with the other one."""
    return lines(server) + BESIDE + OWN.format(vrf=" vrf rbops" if in_vrf(server) else "")


def leads(server: Server, address: str, to: str) -> None:
    """Wait until the data plane sends packets for an address there."""
    wait_for(f"{address}: {to}", lambda: entry(server, address) == to)


def test_the_lines_name_what_other_servers_have(server: tuple[Server, Frr, Frr]) -> None:
    own, _, _ = server
    said = lines(own).splitlines()
    if in_vrf(own):
        assert said[1:] == [
            "! The ports are in the VRF rbops, whose table FRR reads by itself: write `router bgp ASN vrf rbops`."
        ]
        return
    assert "FULL_KERNEL" not in os.environ
    assert " set table 82" in said
    assert "ip route 198.18.1.2/32 169.254.1.1 int1 onlink" in said
    assert "ipv6 route 2001:db8:0:a1::2/128 fe80::5252:1:2 int1" in said
    assert not [line for line in said if " 198.18.0." in line], "what is here is connected"


def test_routes_of_both_families_reach_the_data_plane(server: tuple[Server, Frr, Frr]) -> None:
    own, _, _ = server
    leads(own, "192.0.2.9", NEAR)
    leads(own, "2001:db8:c0::9", NEAR)
    leads(own, "100.64.9.9", f"{FAR}1")
    leads(own, "2001:db8:c1::9", f"{FAR}2")
    assert own.node("fib", "--audit") == own.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_the_main_table_gets_no_route_of_a_session(server: tuple[Server, Frr, Frr]) -> None:
    own, _, _ = server
    for family in ("-4", "-6"):
        assert own.run("ip", family, "route", "show", "table", "main", "proto", "bgp").stdout == ""


def test_what_is_withdrawn_goes(server: tuple[Server, Frr, Frr]) -> None:
    own, _, other = server
    other.ask("configure\nrouter bgp 64512\naddress-family ipv4 unicast\nno network 100.64.0.0/16")
    leads(own, "100.64.9.9", "no route: the kernel")
