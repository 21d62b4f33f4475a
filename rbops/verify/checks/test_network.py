"""What the kernel must know of the ports: up, MTU, addresses, neighbours, slow-path routes, sysctl.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.node.sysctl import of_the_host
from rbops.verify.plugin import Case


def test_up(port_case: Case) -> None:
    """The port is up with a carrier and has the planned MTU; internal ports take every MAC."""
    link = port_case.server.link(port_case.port)
    assert "UP" in link["flags"], "the port is administratively down"
    assert "LOWER_UP" in link["flags"], "the port has no carrier: is the cable in, and the far end up?"
    assert link["mtu"] == port_case.port["mtu"], f"MTU is {link['mtu']}, planned {port_case.port['mtu']}"
    if port_case.port["promiscuous"]:
        assert "PROMISC" in link["flags"] or link.get("promiscuity"), "not promiscuous: fabric MACs are dropped"


def test_addresses(port_case: Case) -> None:
    """The port has exactly the planned IPv4 addresses."""
    server = port_case.server
    device = server.device(port_case.port)
    found = sorted(
        f"{info['local']}/{info['prefixlen']}"
        for item in server.json("ip -j -4 addr show")
        if item.get("ifname") == device
        for info in item["addr_info"]
    )
    want = sorted(port_case.port["addresses"])
    assert found == want, f"addresses are {found or 'none'}, planned {want or 'none'}"


def test_neighbours(port_case: Case) -> None:
    """Every planned neighbour with a MAC is a permanent entry."""
    server = port_case.server
    found = {
        item["dst"]: (item.get("lladdr"), item.get("state"))
        for item in server.json("ip -j -4 neigh show dev %s", server.device(port_case.port)) or []
    }
    if port_case.server.node.get("host"):
        return  # the data plane knows them, and the kernel sends to it
    for neighbour in port_case.port["neighbors"]:
        if neighbour["mac"]:
            have = found.get(neighbour["address"])
            assert have == (neighbour["mac"], ["PERMANENT"]), (
                f"neighbour {neighbour['address']} is {have}, planned {neighbour['mac']} PERMANENT"
            )


def test_slow_path(peer_case: Case) -> None:
    """The kernel reaches every other server over the internal link the plan names, or through its data plane."""
    server, peer = peer_case.server, peer_case.peer
    assert peer is not None
    # Fails, with a message instead of JSON, where the kernel has no route at all.
    route = (server.json("ip -j route get %s || true", peer.external_address) or [{"dev": "no route at all"}])[0]
    host = server.node.get("host")
    if host:
        want = host["device"]
    else:
        planned = server.node["dataplane"]["next_hop"][str(peer.node["index"])]
        want = server.device(next(port for port in server.node["ports"] if port["name"] == planned))
    assert route["dev"] == want, f"the kernel sends to {peer.name} by {route['dev']}, planned {want}"


def test_sysctl(sysctl_case: Case) -> None:
    """The live value of each planned sysctl."""
    found = sysctl_case.server.sysctls().get(sysctl_case.key)
    if found is None and sysctl_case.server.in_container:
        pytest.skip("not in a container: the host's kernel alone has it")
    if of_the_host(sysctl_case.key) and sysctl_case.server.in_container:
        pytest.skip("not in a container: it is its host's")
    assert found is not None, f"{sysctl_case.key} cannot be read: the kernel, or the device, has no such setting"
    assert found.split() == sysctl_case.want.split(), f"{sysctl_case.key} is {found}, planned {sysctl_case.want}"
