"""FRR as another AS's router beside a server's BIRD as rendered: both families, RFC 8950 too, and the data plane."""

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
    pytest.mark.xdist_group("server of frr_peer"),
]

SPEC = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
routing:
  daemon: bird
  as: 64512
  routes: 1000
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  neighbors:
    - {address: 198.18.0.2, as: 65000, password: peer.password, import: [192.0.2.0/24]}
    - {address: "2001:db8:0:a0::2", as: 65000, families: [ipv4, ipv6], import: [100.64.0.0/16, "2001:db8:c0::/48"]}
"""
PEER = """\
frr defaults traditional
ip route 192.0.2.0/24 blackhole
ip route 100.64.0.0/16 blackhole
ipv6 route 2001:db8:c0::/48 blackhole
router bgp 65000
 bgp router-id 198.18.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 10 30
 neighbor 198.18.0.1 remote-as 64512
 neighbor 198.18.0.1 password canary
 neighbor 198.18.0.1 timers connect 2
 neighbor 2001:db8:0:a0::1 remote-as 64512
 neighbor 2001:db8:0:a0::1 capability extended-nexthop
 neighbor 2001:db8:0:a0::1 timers connect 2
 address-family ipv4 unicast
  network 192.0.2.0/24
  network 100.64.0.0/16
  neighbor 198.18.0.1 activate
  neighbor 2001:db8:0:a0::1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:c0::/48
  neighbor 2001:db8:0:a0::1 activate
 exit-address-family
"""
OWN = "port ext0 to 02:4e:00:00:00:02"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Frr]]:
    folder = tmp_path_factory.mktemp("server")
    with beside(folder, SPEC, "198.18.0.2/24", "2001:db8:0:a0::2/64") as found:
        enter = ("ip", "netns", "exec", found.peer)
        keys = 'define key_port0_198_18_0_2 = "canary";\n'
        with speaking(found, load_plan(folder / "router.yml"), keys), frr(enter, PEER) as peer:
            yield found, peer


def peers(peer: Frr, family: str) -> dict[str, str]:
    """State of each session of a family, as FRR sees it."""
    said = json.loads(peer.ask(f"show bgp {family} unicast summary json") or "{}")
    return {address: each["state"] for address, each in said.get("peers", {}).items()}


def test_sessions_of_both_families(server: tuple[Server, Frr]) -> None:
    own, peer = server
    both = {"198.18.0.1": "Established", "2001:db8:0:a0::1": "Established"}
    wait_for("IPv4", lambda: peers(peer, "ipv4") == both)
    wait_for("IPv6", lambda: peers(peer, "ipv6") == {"2001:db8:0:a0::1": "Established"})
    assert ask(own, "run/quick.conf", "show protocols").count("Established") == 2


def test_routes_of_both_families_reach_the_data_plane(server: tuple[Server, Frr]) -> None:
    own, peer = server
    for address in ("192.0.2.9", "100.64.9.9", "2001:db8:c0::9"):
        wait_for(address, lambda address=address: entry(own, address) == OWN)
    shown = own.run("ip", "route", "show", "table", "82", "proto", "bird").stdout
    assert "192.0.2.0/24 via 198.18.0.2 dev ext0" in shown
    assert "100.64.0.0/16 via inet6 " in shown, "by the session between IPv6 addresses alone (RFC 8950)"
    assert own.node("fib", "--audit") == own.node("fib", "--audit") | {"differences": 0, "unresolved": 0}
    peer.ask("configure\nrouter bgp 65000\naddress-family ipv4 unicast\nno network 100.64.0.0/16")
    wait_for("its end", lambda: entry(own, "100.64.9.9") == "no route: the kernel")


def test_the_peer_has_what_is_announced(server: tuple[Server, Frr]) -> None:
    _, peer = server

    def hops(question: str, prefix: str) -> set[str]:
        found = json.loads(peer.ask(f"{question} json") or "{}").get(prefix, [])
        return {hop.get("afi", "") for route in found for hop in route["nexthops"]}

    wait_for("IPv4", lambda: hops("show ip route bgp", "198.51.100.0/24") == {"ipv4", "ipv6"})
    wait_for("IPv6", lambda: hops("show ipv6 route bgp", "2001:db8:aa::/48") == {"ipv6"})
