"""Which IPv6 route of the kernel decides, and what it means."""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from typing import Any

import pytest

from rbops.node.fabric import adjacency_of, adjacency_of6
from rbops.node.route6 import longest, meaning, trace6
from rbops.node.ways import Ports
from tests.node.recorded import Recorded

PORTS = Ports({"eth7": 0}, frozenset({"eth8"}), (0, 1), 0, adjacency_of)
ROUTES: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "fe80::5252:1:2", "dev": "eth8", "metric": 1024},
    {"dst": "2001:db8:f::/48", "gateway": "2001:db8::2", "dev": "eth7", "metric": 1024},
    {"dst": "2001:db8:f::/48", "gateway": "2001:db8::3", "dev": "eth7", "metric": 5},
    {"dst": "2001:db8::/64", "dev": "eth7", "metric": 1024, "prefsrc": "2001:db8::1"},
    {"type": "local", "dst": "2001:db8::1", "dev": "eth7", "metric": 1024},
    {"dst": "2001:db8:9::/48", "gateway": "fe80::1", "dev": "mgmt0", "metric": 1024},
]


@pytest.mark.parametrize(
    ("address", "prefix", "what"),
    [
        ("2001:db8:f::1", "2001:db8:f::/48", "port 0, neighbour 2001:db8::3"),
        ("2001:db8::9", "2001:db8::/64", "port 0, found by the kernel"),
        ("2001:db8::1", "2001:db8::1/128", "this server's kernel"),
        ("2001:db8:9::1", "2001:db8:9::/48", "not the router's"),
        ("2400::1", "::/0", "server 1, port 1, adjacency 2"),
    ],
)
def test_the_longest_prefix_and_then_the_lowest_metric(address: str, prefix: str, what: str) -> None:
    found = longest(ROUTES, IPv6Address(address))
    assert found is not None
    assert (str(found[0]), meaning(found[1], PORTS)) == (prefix, what)


def test_no_route() -> None:
    class Table:
        ports = PORTS

        def get6(self, address: int) -> dict[str, Any]:
            return {"number": 0, "entry": f"{address}"}

    system = Recorded({"ip -6 -json -N route show table 82": json.dumps(ROUTES[1:])})
    found = trace6(Table(), 1 << 125, system)  # type: ignore[arg-type]
    assert found == {
        "address": "2000::",
        "prefix": None,
        "route": None,
        "hop": "no route",
        "data_plane": {"number": 0, "entry": str(1 << 125)},
    }


def test_made_up_next_hops_and_no_others() -> None:
    assert adjacency_of6(int(IPv6Address("fe80::5252:1:2"))) == (1, 2)
    assert adjacency_of6(int(IPv6Address("fe80::1:5252:1:2"))) is None
    assert adjacency_of6(int(IPv6Address("2001:db8::5252:1:2"))) is None
