"""IPv6 on a server: addresses, neighbours, routes, rules, services, advertised routes; facts in, commands out."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from rbops.common.services import services as named
from rbops.common.sysctls import is_router_sysctl
from rbops.node import addresses, advertisements, neighbors, netlink, routes, rules, services, table
from rbops.node.fabric import next_hop6
from rbops.node.netlink import LOCAL, KernelRoute
from rbops.node.schema import NodeConfig
from rbops.node.settings import Ip, Run, Setting, Write, differing
from tests.node.recorded import Recorded, config, external, internal

DEVICES = {"ext0": "eth7", "int1": "eth8"}
INDEXES = {"eth7": 7, "eth8": 8}
ROWS = b"""prefix,port,adjacency,via
198.18.0.0/24,0,0,
198.18.1.0/24,1,0,
2001:db8:a0::/64,0,0,
2001:db8:a0::2/128,0,2,
2001:db8:a1::/64,1,0,
2001:db8:f::/48,0,2,2001:db8:a0::2
::/0,3,2,2001:db8:a3::2
"""


def made() -> NodeConfig:
    near = [{"index": 2, "address": "2001:db8:a0::2", "mac": "02:4e:00:00:00:02"}]
    return config(
        ports=[
            external(addresses=["198.18.0.1/24", "2001:db8:a0::1/64"], neighbors=near),
            internal(addresses=["198.18.0.1/32", "2001:db8:a0::1/128"]),
        ]
    )


def number(text: str) -> int:
    return int(IPv6Address(text))


def route(gateway: int | None, device: int, metric: int = 1024) -> KernelRoute:
    return KernelRoute(gateway, device, onlink=False, source=number("2001:db8:a0::1"), metric=metric)


def commands(settings: list[Setting]) -> list[str]:
    found = []
    for setting in differing(settings):
        for action in setting.actions:
            assert isinstance(action, Ip | Run)
            found.append(action.line if isinstance(action, Ip) else " ".join(action.argv))
    return found


def test_internal_ports_have_a_link_local_address_of_ours() -> None:
    """Routing daemons take no link-local next hop on a link without such a network."""
    port = made().ports[1]
    have = {"eth8": ("198.18.0.1/32", "2001:db8:a0::1/128")}
    assert commands(addresses.settings(port, "eth8", have)) == [f"address add {addresses.ON_FABRIC} dev eth8"]
    shown = [{"family": "inet6", "local": "fe80::5252:ffff:ffff", "prefixlen": 64, "scope": "link"}]
    facts = addresses.parse(json.dumps([{"ifname": "eth8", "addr_info": shown}]))
    assert facts == {"eth8": (addresses.ON_FABRIC,)}
    without = replace(port, addresses=())
    assert commands(addresses.settings(without, "eth8", facts)) == [f"address del {addresses.ON_FABRIC} dev eth8"]


def test_link_local_addresses_are_the_kernels() -> None:
    shown = [
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
        {"family": "inet6", "local": "2001:db8:9::1", "prefixlen": 64, "scope": "global"},
        {"family": "inet", "local": "198.18.0.1", "prefixlen": 24, "scope": "global"},
    ]
    facts = addresses.parse(json.dumps([{"ifname": "eth7", "addr_info": shown}]))
    assert commands(addresses.settings(made().ports[0], "eth7", facts)) == [
        "address del 2001:db8:9::1/64 dev eth7",
        "address add 2001:db8:a0::1/64 dev eth7",
    ]


def test_neighbors() -> None:
    want = table.neighbors(table.rows(ROWS), made(), DEVICES)
    assert {address: mac for (_, address), mac in want.items() if ":" in address} == {
        "fe80::5252:1:0": "02:52:00:01:00:00",
        "fe80::5252:3:2": "02:52:00:03:00:02",
        "2001:db8:a0::2": "02:4e:00:00:00:02",
    }
    assert "neighbour replace fe80::5252:3:2 lladdr 02:52:00:03:00:02 dev eth8 nud permanent" in commands(
        neighbors.settings({"eth7": "ext0", "eth8": "int1"}, want, {})
    )


def test_routes() -> None:
    want = table.hops(table.rows(ROWS), made(), DEVICES, ipv6=True)
    have = {
        (number("2001:db8:9::"), 48, 1024): KernelRoute(1, 7, onlink=False, source=None, metric=1024),
        (number("2001:db8:a0::"), 64, 1024): route(None, 7),
        (0, 0, 7): route(int(next_hop6(3, 2).address), 8, 7),
    }
    assert commands(routes.settings(want, have, INDEXES, routes.IPV6)) == [
        "route del 2001:db8:9::/48 proto 82 table 82 metric 1024",
        "route del ::/0 proto 82 table 82 metric 7",
        "route replace 2001:db8:a1::/64 via fe80::5252:1:0 dev eth8 src 2001:db8:a0::1 proto 82 table 82",
        "route replace 2001:db8:f::/48 via 2001:db8:a0::2 dev eth7 proto 82 table 82",
        "route replace ::/0 via fe80::5252:3:2 dev eth8 src 2001:db8:a0::1 proto 82 table 82",
        "route replace local 2001:db8:a0::1/128 dev eth7 src 2001:db8:a0::1 proto 82 table 82",
    ]
    assert want[number("2001:db8:a0::1"), 128].kind == LOCAL
    # IPv4's have nothing of it.
    assert all(address < 1 << 32 for address, _ in table.hops(table.rows(ROWS), made(), DEVICES))


def test_rules() -> None:
    shown = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 81, "src": "all", "dst": "fe80::", "dstlen": 10, "table": "local"},
        {"priority": 82, "src": "2001:db8:a0::1", "table": "82"},
        {"priority": 82, "src": "all", "iif": "eth9", "table": "82"},
        {"priority": 82, "src": "all", "fwmark": "0x52", "table": "82"},
        {"priority": 83, "src": "all", "iif": "eth7", "action": "unreachable"},
        {"priority": 32766, "src": "all", "table": "main"},
    ]
    found = rules.settings6(made(), DEVICES, rules.parse(json.dumps(shown)))
    assert commands(found) == [
        "ip -6 rule del pref 82 iif eth9 lookup 82",
        "ip -6 rule add pref 81 to fe80::/10 lookup main",
        "ip -6 rule add pref 81 to ff00::/8 lookup local",
        "ip -6 rule add pref 82 iif eth7 lookup 82",
        "ip -6 rule add pref 82 iif eth8 lookup 82",
        "ip -6 rule add pref 83 from 2001:db8:a0::1 unreachable",
        "ip -6 rule add pref 83 iif eth8 unreachable",
        "ip -6 rule add pref 83 fwmark 0x52 unreachable",
        # Never without a rule for the local table: the server would be cut off.
        "ip -6 rule add pref 84 lookup local protocol kernel",
        "ip -6 rule add pref 85 iif lo lookup 82 suppress_prefixlength 0",
        "ip -6 rule del pref 0 lookup local",
    ]
    # With that rule the kernel's own comes back, in front of the others.
    (local,) = (setting for setting in found if setting.name == rules.LOCAL)
    assert [" ".join(action.argv) for action in local.undo if isinstance(action, Run)] == [
        "ip -6 rule add pref 0 lookup local protocol kernel",
        "ip -6 rule del pref 84 lookup local",
    ]
    assert found[-1].undo == ()


def test_dumped_routes_are_read_whatever_comes_first() -> None:
    """A route of IPv6 as the kernel writes it: table, destination, metric, source, device, cache."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value

    parts = [
        attribute(15, struct.pack("=I", 82)),
        attribute(1, IPv6Address("2001:db8:f::").packed),
        attribute(6, struct.pack("=I", 1024)),
        attribute(7, IPv6Address("2001:db8:a0::1").packed),
        attribute(5, IPv6Address("fe80::5252:3:2").packed),
        attribute(4, struct.pack("=I", 8)),
        attribute(12, bytes(range(36))),
    ]
    body = struct.pack("=BBBBBBBBI", 10, 48, 0, 0, 82, 82, 0, 1, 0) + b"".join(parts)
    message = struct.pack("=IHHII", 16 + len(body), 24, 2, 1, 0) + body
    found = netlink.parse_routes(message)
    hop = route(number("fe80::5252:3:2"), 8)
    assert found == {(number("2001:db8:f::"), 48, 1024): hop}


@pytest.mark.parametrize(
    ("accept", "want"),
    [("1\n", [Write("/proc/sys/net/ipv6/conf/mgmt0/accept_ra", "2")]), ("2\n", []), ("0\n", [])],
)
def test_advertised_routes_of_the_management_stay(accept: str, want: list[Write]) -> None:
    shown = [{"dst": "default", "gateway": "fe80::1", "dev": "mgmt0"}, {"dst": "default", "dev": "eth7"}]
    command = "ip -6 -json route show default proto ra"
    files = {"/proc/sys/net/ipv6/conf/mgmt0/accept_ra": accept}
    system = Recorded({command: json.dumps(shown)}, files)
    found = advertisements.settings(["eth7"], system)
    assert [action for setting in differing(found) for action in setting.actions] == want


def test_the_firewall_marks_and_takes_discovery_from_neighbors_alone() -> None:
    text = services.ruleset6([each for word in ("ssh", "ospf") for each in named(word)], ["eth7", "eth8"])
    assert "iifname @ports meta mark set 82" in text
    assert "tcp dport { 22 } accept" in text
    assert "meta l4proto { 89 } accept" in text
    assert "nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept" in text


def test_router_advertisements_come_in_where_a_neighbour_is_looked_for() -> None:
    advert = "icmpv6 type nd-router-advert ip6 hoplimit 255 accept"
    text = services.ruleset6([], ["eth7", "eth8"], (), ["eth8"])
    assert f'iifname "eth8" ip6 saddr fe80::/10 {advert}' in text
    assert text.index(advert) < text.index("nd-redirect } drop")
    assert advert not in services.ruleset6([], ["eth7", "eth8"])


def test_another_value_of_its_sysctls_stops_the_router() -> None:
    for key in ("net.ipv6.conf.all.forwarding", "net.ipv6.fwmark_reflect", "net.ipv6.conf.eth7.accept_ra"):
        assert is_router_sysctl(key)
