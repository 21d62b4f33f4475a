"""A neighbour that is known by its port alone: FRR beside the router, found by router advertisements (RFC 4861).

The server runs BIRD, which waits for it, and FRR, which looks for it. Both carry both families, and the data plane has
it by its address. The lab's test has the servers tell each other, and traffic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from rbops.planner import load_plan
from tests.node.conftest import Server
from tests.node.frr import Frr, frr, is_installed
from tests.node.speaking import apply, beside, entry, following, speaking, wait_for
from tests.node.test_frr_rendered import running

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_installed(), reason="needs frr"),
    pytest.mark.xdist_group("server of by_port"),
]

SPEC = """\
router: {{external_ports: 4, line_rate: 10Mbps}}
servers: {{profile: lab}}
ports:
  - {{id: 0, address: 198.18.0.1/32, ipv6: {{address: "2001:db8:0:a0::1/128"}}}}
  - {{id: 1, ipv6: {{address: "2001:db8:0:a1::1/64"}}}}
  - {{id: 2, address: 198.18.2.1/32, ipv6: {{address: "2001:db8:0:a2::1/128"}}}}
  - {{id: 3, ipv6: {{address: "2001:db8:0:a3::1/64"}}}}
routes:
  - {{prefix: "2001:db8:c5::/48", via: "fe80::4e:ff:fe00:2", port: 0}}
  - {{prefix: "2001:db8:c6::/48", via: "fe80::9", port: 2}}
routing:
  daemon: {daemon}
  as: 64512
  routes: 1000
  bfd: 1s
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  neighbors:
    - {{port: 0, as: 65000, families: [ipv4, ipv6], password: peer.password, bfd: true}}
    - {{port: 2, as: 65002, families: [ipv4, ipv6]}}
"""
PEER = """\
frr defaults traditional
ip route 192.0.2.0/24 blackhole
ipv6 route 2001:db8:c0::/48 blackhole
interface p-ext0
 ipv6 nd ra-interval 3
exit
router bgp 65000
 bgp router-id 198.18.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 10 30
 neighbor p-ext0 interface remote-as 64512
 neighbor p-ext0 password canary
 neighbor p-ext0 timers connect 2
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor p-ext0 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:c0::/48
  neighbor p-ext0 activate
 exit-address-family
"""
KEY = "key_port0_link_local"
OWN = "port ext0 to 02:4e:00:00:00:02"


@pytest.fixture(scope="module", params=["bird", "frr"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Frr]]:
    folder = tmp_path_factory.mktemp("server")
    # BFD is the lab's to look at: the peer has none here.
    spec = SPEC.format(daemon=request.param).replace(", bfd: true", "")
    with ExitStack() as held:
        found = held.enter_context(beside(folder, spec, "fe80::4e:ff:fe00:2/64"))
        plan = load_plan(folder / "router.yml")
        if request.param == "bird":
            held.enter_context(speaking(found, plan, f'define {KEY} = "canary";\n'))
        else:
            apply(found, plan)
            held.enter_context(following(found))
            held.enter_context(running(found, KEY))
        yield found, held.enter_context(frr(("ip", "netns", "exec", found.peer), PEER))


def test_routes_of_both_families_reach_the_data_plane(server: tuple[Server, Frr]) -> None:
    own, peer = server
    wait_for("the session", lambda: '"state":"Established"' in peer.ask("show bgp summary json").replace(" ", ""))
    for address in ("192.0.2.9", "2001:db8:c0::9"):
        wait_for(address, lambda address=address: entry(own, address) == OWN)
    assert own.node("fib", "--audit") == own.node("fib", "--audit") | {"differences": 0, "unresolved": 0}


def test_static_routes_have_link_local_next_hops(server: tuple[Server, Frr]) -> None:
    own, _ = server
    assert entry(own, "2001:db8:c5::9") == OWN
    assert entry(own, "2001:db8:c6::9") == "server 2, port 2, adjacency 2"
    said = own.run("ip", "-6", "route", "show", "table", "82").stdout
    assert "2001:db8:c5::/48 via fe80::4e:ff:fe00:2 dev ext0 proto 82" in said
    assert "2001:db8:c6::/48 via fe80::5252:2:2 dev int2 proto 82" in said
    assert own.node("diff") == []


def test_the_peer_has_what_is_announced(server: tuple[Server, Frr]) -> None:
    _, peer = server
    for family, prefix in (("ip", "198.51.100.0/24"), ("ipv6", "2001:db8:aa::/48")):
        ask = f"show {family} route bgp json"
        wait_for(prefix, lambda ask=ask, prefix=prefix: prefix in json.loads(peer.ask(ask) or "{}"))
