"""Which addresses are sent to, and that they lead where the plan says."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

from rbops.errors import Mismatch, UsageError
from rbops.plan import ClusterPlan, Route, Routes, Tunnel
from rbops.selftest.ports import PER_PORT, ports_under_test
from rbops.selftest.routefile import read_routes
from tests.support.errors import raises

from .conftest import make_plan


def test_every_port_is_a_site_with_its_neighbour() -> None:
    found = ports_under_test(make_plan(3), seed=1)
    assert [(port.port, port.server, port.router_address, port.address) for port in found] == [
        (number, f"n{number}", f"198.18.{number}.1", f"198.18.{number}.2") for number in range(3)
    ]
    assert [target.address for target in found[2].targets] == ["198.18.2.2"]
    assert found[2].targets[0].mac == "02:4e:00:02:00:02"


def test_routes_are_sampled_and_only_where_they_are_the_longest_match() -> None:
    routes = (
        Route("203.0.113.0/24", 2, 1, "198.18.2.2"),
        Route("203.0.113.128/25", 1, 1, "198.18.1.2"),
        Route("192.0.2.0/31", 2, 1, "198.18.2.2"),
        # Covered by two longer ones: no address of it leads there.
        Route("198.51.100.0/24", 2, 1, "198.18.2.2"),
        Route("198.51.100.0/25", 1, 1, "198.18.1.2"),
        Route("198.51.100.128/25", 1, 1, "198.18.1.2"),
        Route("239.0.0.0/8", 2, 1, "198.18.2.2"),
    )
    for seed in range(20):
        two = [
            ipaddress.IPv4Address(t.address)
            for t in ports_under_test(make_plan(3, routes=routes), seed=seed)[2].targets
        ]
        assert [a for a in two if a in ipaddress.IPv4Network("203.0.113.128/25")] == []
        assert len([a for a in two if a in ipaddress.IPv4Network("203.0.113.0/25")]) == 1
        assert len([a for a in two if a in ipaddress.IPv4Network("192.0.2.0/31")]) == 1
        assert [a for a in two if a in ipaddress.IPv4Network("198.51.100.0/24")] == []
        assert [a for a in two if a.is_multicast] == []


def tunnelled(*prefixes: str) -> ClusterPlan:
    """Port 2 has routes to 203.0.113.0/24 and 192.0.2.0/24; these prefixes go through a tunnel."""
    routes = (Route("203.0.113.0/24", 2, 1, "198.18.2.2"), Route("192.0.2.0/24", 2, 1, "198.18.2.2"))
    plan = make_plan(3, routes=routes)
    tunnel = Tunnel(peer="198.18.2.2", prefixes=prefixes, spi=1, keys="/srv/peer.keys")
    return replace(plan, forwarding=replace(plan.forwarding, dataplane="click", tunnels=(tunnel,)))


def test_what_goes_through_a_tunnel_is_not_sent_to() -> None:
    for seed in range(20):
        two = [t.address for t in ports_under_test(tunnelled("203.0.113.0/24", "192.0.2.128/25"), seed=seed)[2].targets]
        assert two[0] == "198.18.2.2"
        assert [ipaddress.IPv4Address(address) < ipaddress.IPv4Address("192.0.2.128") for address in two[1:]] == [True]
    two = [t.address for t in ports_under_test(tunnelled("198.18.2.0/24"), seed=1)[2].targets]
    assert len(two) == 2
    assert "198.18.2.2" not in two


def test_with_the_kernels_tunnels_longer_routes_are_in_the_clear() -> None:
    """The longest prefix counts, of routes and tunnels together."""
    for prefixes, clear in (("0.0.0.0/0",), 3), (("203.0.113.0/25", "203.0.113.128/25"), 2):
        plan = tunnelled(*prefixes)
        plan = replace(plan, forwarding=replace(plan.forwarding, dataplane="xdp"))
        two = [target.address for target in ports_under_test(plan, seed=1)[2].targets]
        assert two[0] == "198.18.2.2"
        assert len(two) == clear


def test_a_port_behind_which_all_is_encrypted_is_a_mismatch() -> None:
    with raises(Mismatch, "selftest.only-tunnels"):
        ports_under_test(tunnelled("0.0.0.0/0"), seed=1)


def test_the_sample_is_bounded_and_repeatable() -> None:
    routes = tuple(Route(f"10.{number // 256}.{number % 256}.0/24", 1, 1, "198.18.1.2") for number in range(1000))
    plan = make_plan(3, routes=routes)
    first, again, other = (ports_under_test(plan, seed=seed)[1].targets for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == PER_PORT


def test_a_port_where_nobody_can_stand_is_a_mismatch() -> None:
    plan = make_plan(2)
    server = plan.servers[1]
    port = replace(server.ports[0], adjacencies=(replace(server.ports[0].adjacencies[0], mac=None),))
    plan = replace(plan, servers=(plan.servers[0], replace(server, ports=(port,))))
    with raises(Mismatch, "selftest.no-neighbour", server="n1", device="ext1"):
        ports_under_test(plan, seed=1)


def test_a_route_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.csv"
    path.write_text("prefix,via\n203.0.113.0/24,198.18.1.2\n192.0.2.0/24,198.18.9.9\n")
    plan = replace(make_plan(2), routes=Routes((), (), str(path), "", 2))
    assert read_routes(plan) == [Route("203.0.113.0/24", 1, 1, "198.18.1.2")]
    assert read_routes(make_plan(2)) == []
    path.unlink()
    with raises(UsageError, "selftest.route-file"):
        read_routes(plan)
