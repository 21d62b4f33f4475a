"""Addresses, names and routes of external ports."""

from __future__ import annotations

import ipaddress
import itertools
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.errors import SpecError
from rbops.plan import Route
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.ports import Neighbor, PortSpec
from rbops.spec.router import Router
from rbops.spec.routes import RouteColumns, RouteFile, Routes, StaticRoute
from rbops.topology.external import externals, routes
from rbops.topology.names import internal_port, server_index, server_name
from tests.support.errors import raises


def spec(ports: int, *given_ports: PortSpec, routing: Routes = ()) -> Spec:
    return Spec("x", Router(ports, 10**10), Servers("lab"), ports=given_ports, routes=routing)


@pytest.mark.parametrize("count", [1, 4, 256, 257, 512, 513, 1024, 4096])
def test_nothing_collides(count: int) -> None:
    made = externals(spec(count))
    networks = sorted(port.address.network for port in made)
    assert len(made) == count
    assert all(one.broadcast_address < two.network_address for one, two in itertools.pairwise(networks))
    assert all(network.subnet_of(ipaddress.IPv4Network("198.18.0.0/15")) for network in networks)
    neighbors = [near for port in made for near in port.adjacencies]
    assert len({near.mac for near in neighbors}) == len({near.address for near in neighbors}) == count


@given(st.integers(1, 64), st.integers(0, 63), st.integers(16, 30))
@settings(max_examples=50, deadline=None)
def test_generated_networks_move_away_from_given_ones(count: int, third: int, length: int) -> None:
    address = f"198.18.{third}.9/{length}"
    made = externals(spec(count, PortSpec(0, address=address)))
    networks = sorted(port.address.network for port in made)
    assert str(made[0].address) == address
    assert not any(one.overlaps(two) for one, two in itertools.pairwise(networks))


def test_first_ports_are_where_the_documentation_says() -> None:
    port = externals(spec(4))[3]
    assert str(port.address) == "198.18.3.1/24"
    assert [(near.index, near.address, near.mac) for near in port.adjacencies] == [
        (1, "198.18.3.2", "02:4e:00:03:00:02")
    ]


def test_overlapping_given_networks_are_refused() -> None:
    with raises(SpecError, "plan.overlapping-networks", field="ports[1].address"):
        externals(spec(2, PortSpec(0, address="10.0.0.1/24"), PortSpec(1, address="10.0.0.129/25")))


def test_neighbours_are_numbered_from_one() -> None:
    near = (Neighbor("10.0.0.2", "3c:fd:fe:00:00:01"), Neighbor("10.0.0.3"))
    port = externals(spec(1, PortSpec(0, address="10.0.0.1/24", neighbors=near)))[0]
    assert [(one.index, one.mac) for one in port.adjacencies] == [(1, "3c:fd:fe:00:00:01"), (2, None)]


def test_connected_and_static_routes() -> None:
    made = spec(2, routing=(StaticRoute("203.0.113.0/24", "198.18.1.2"),))
    found = routes(made, externals(made))
    assert [route for route in found.connected if route.port == 1] == [
        Route("198.18.1.0/24", 1, 0, None),
        Route("198.18.1.1/32", 1, 0, None),
        Route("198.18.1.2/32", 1, 1, None),
    ]
    assert found.static == (Route("203.0.113.0/24", 1, 1, "198.18.1.2"),)
    assert found.count == 7


def test_a_next_hop_without_a_neighbour_gets_an_adjacency_of_unknown_mac() -> None:
    made = spec(2, routing=(StaticRoute("203.0.113.0/24", "198.18.1.77"),))
    ports = externals(made)
    assert [(one.index, one.address, one.mac) for one in ports[1].adjacencies][1] == (2, "198.18.1.77", None)
    assert routes(made, ports).static[0].adjacency == 2


@pytest.mark.parametrize("via", ["192.0.2.1", "198.18.0.1"], ids=["in no network", "the router itself"])
def test_unreachable_next_hops_are_refused(via: str) -> None:
    with raises(SpecError, "plan.next-hop", field="routes[0].via"):
        externals(spec(2, routing=(StaticRoute("203.0.113.0/24", via),)))


def test_a_file_is_recorded_by_path_digest_and_count() -> None:
    vias = [int(ipaddress.IPv4Address(text)) for text in ("198.18.0.2", "198.18.1.2")]
    columns = RouteColumns(array("I", [1 << 24, 2 << 24]), array("B", [8, 8]), array("I", vias))
    made = spec(2, routing=RouteFile("/x/routes.csv", "ab" * 32, columns))
    found = routes(made, externals(made))
    assert (found.file, found.file_digest, found.count, found.static) == ("/x/routes.csv", "ab" * 32, 8, ())


def test_names() -> None:
    assert [server_index(server_name(number)) for number in (0, 7, 4095)] == [0, 7, 4095]
    assert [server_index(text) for text in ("n", "n01", "x1", "n-1")] == [None] * 4
    assert (internal_port(3, 0, 1), internal_port(3, 1, 2)) == ("int3", "int3p1")
