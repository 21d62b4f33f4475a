"""A port without a subnet: FRR beside it speaks BGP by its link-local address alone, and carries both families."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rbops.planner import load_plan
from tests.node.conftest import Server
from tests.node.frr import Frr, frr, is_installed
from tests.node.speaking import ask, beside, entry, speaking, wait_for

# One server for the file, in its order: on one worker.
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_installed(), reason="needs frr"),
    pytest.mark.xdist_group("server of unnumbered"),
]

NEAR = "fe80::4e:ff:fe00:2"
SPEC = f"""\
router: {{external_ports: 4, line_rate: 10Mbps}}
servers: {{profile: lab}}
ports:
  - {{id: 0, address: 198.18.0.1/32, ipv6: {{address: "2001:db8:0:a0::1/128"}}}}
  - {{id: 2, address: 198.18.2.1/32, ipv6: {{address: "2001:db8:0:a2::1/128"}}}}
routing:
  daemon: bird
  as: 64512
  routes: 1000
  bfd: 300ms
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  neighbors:
    - {{address: "fe80::7", port: 2, as: 65002}}
    - {{address: "{NEAR}", port: 0, as: 65000, families: [ipv4, ipv6], password: peer.password}}
"""
PEER = """\
frr defaults traditional
ip route 192.0.2.0/24 blackhole
ipv6 route 2001:db8:c0::/48 blackhole
router bgp 65000
 bgp router-id 198.18.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 10 30
 neighbor {own} remote-as 64512
 neighbor {own} interface p-ext0
 neighbor {own} password canary
 neighbor {own} capability extended-nexthop
 neighbor {own} timers connect 2
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor {own} activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:c0::/48
  neighbor {own} activate
 exit-address-family
"""
TOLD = """\
protocol static told4 { ipv4; route 100.64.2.0/24 recursive 100::5252:2:1; }
protocol static told6 { ipv6; route 2001:db8:c2::/48 recursive 100::5252:2:1; }
filter rbops_to_kernel {
  if proto = "told4" || proto = "told6" then accept;
"""
"""What another server tells of its neighbour, as its session would have it."""
OWN = "port ext0 to 02:4e:00:00:00:02"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Frr]]:
    folder = tmp_path_factory.mktemp("server")
    with beside(folder, SPEC, f"{NEAR}/64") as found:
        enter = ("ip", "netns", "exec", found.peer)
        keys = 'define key_port0_fe80__4e_ff_fe00_2 = "canary";\n'
        with speaking(found, load_plan(folder / "router.yml"), keys, ("filter rbops_to_kernel {\n", TOLD)):
            said = found.json("ip", "-json", "-6", "address", "show", "dev", "ext0", "scope", "link")
            (own,) = (info["local"] for link in said for info in link.get("addr_info", ()) if "local" in info)
            with frr(enter, PEER.format(own=own)) as peer:
                yield found, peer


def test_a_session(server: tuple[Server, Frr]) -> None:
    own, _ = server
    wait_for("the session", lambda: "Established" in ask(own, "run/quick.conf", "show protocols"))


def test_routes_of_both_families_reach_the_data_plane(server: tuple[Server, Frr]) -> None:
    own, _ = server
    for address in ("192.0.2.9", "2001:db8:c0::9"):
        wait_for(address, lambda address=address: entry(own, address) == OWN)
    assert f"192.0.2.0/24 via inet6 {NEAR} dev ext0" in own.run("ip", "route", "show", "table", "82").stdout
    assert own.node("fib", "--audit") == own.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_other_servers_are_told_what_stands_in_for_it(server: tuple[Server, Frr]) -> None:
    own, _ = server
    for prefix in ("192.0.2.0/24", "2001:db8:c0::/48"):
        assert "BGP.next_hop: 100::5252:0:1" in ask(own, "run/quick.conf", f"show route for {prefix} all")


def test_another_servers_neighbour_is_reached_by_it(server: tuple[Server, Frr]) -> None:
    own, _ = server
    for address in ("100.64.2.9", "2001:db8:c2::9"):
        wait_for(address, lambda address=address: entry(own, address) == "server 2, port 2, adjacency 1")
    assert "2001:db8:c2::/48 via fe80::5252:2:1 dev int2" in own.run("ip", "-6", "route", "show", "table", "82").stdout


def test_the_peer_has_what_is_announced(server: tuple[Server, Frr]) -> None:
    _, peer = server

    def hops(question: str, prefix: str) -> set[str]:
        found = json.loads(peer.ask(f"{question} json") or "{}").get(prefix, [])
        return {hop["ip"] for route in found for hop in route["nexthops"]}

    wait_for("IPv4", lambda: any(hop.startswith("fe80:") for hop in hops("show ip route bgp", "198.51.100.0/24")))
    wait_for("IPv6", lambda: any(hop.startswith("fe80:") for hop in hops("show ipv6 route bgp", "2001:db8:aa::/48")))
