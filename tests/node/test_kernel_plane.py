"""The kernel as data plane on a real kernel, and the changes from and to XDP."""

from __future__ import annotations

import time

import pytest

from tests.node.conftest import PORTS, Server

pytestmark = pytest.mark.root


def test_the_kernel_routes_over_its_own_addresses(server: Server) -> None:
    server.install("kernel")
    server.node("apply")
    kernel = server.kernel()
    assert [kernel["links"][port]["xdp"] for port in PORTS] == [None] * 4
    assert not any({"PROMISC", "NOARP"} & set(kernel["links"][port]["flags"]) for port in PORTS)
    assert "ext0    inet 198.18.0.1/24" in kernel["addresses"]
    assert kernel["addresses"].count("198.18.0.1/32") == 3
    assert "ipv4/ip_forward:1" in kernel["sysctl"]
    assert kernel["neighbors"] == ["ext0 198.18.0.2 02:4e:00:00:00:02"]
    routes = kernel["routes"].splitlines()
    assert any(r.startswith("203.0.113.0/24 via 198.18.3.1 dev int3") and "onlink" in r for r in routes)
    assert sum(r.startswith("198.18.0.0/24 dev ext0") and "scope link" in r for r in routes) == 1
    assert server.node("diff") == []
    assert server.node("apply")["changes"] == []
    status = server.node("status")["dataplane"]
    assert (status["kind"], status["loaded"]) == ("kernel", True)
    assert set(server.node("counters")["ports"]) == set(PORTS)


def test_from_xdp_and_back(server: Server) -> None:
    server.install()
    server.node("apply")
    xdp = server.kernel()
    server.install("kernel")
    changes = server.node("apply")["changes"]
    assert (changes[0]["have"], changes[0]["want"]) == ("xdp", "kernel (nothing is forwarded between the two)")
    kernel = server.kernel()
    assert [kernel["links"][port]["xdp"] for port in PORTS] == [None] * 4
    server.install()
    server.node("apply")
    assert server.kernel() == xdp
    assert server.node("diff") == []


def test_a_change_that_is_not_confirmed_goes_back(server: Server) -> None:
    server.install()
    server.node("apply")
    xdp = server.kernel()
    server.node("begin", "--run", "r1", "--timeout", "2")
    server.install("kernel")
    server.node("apply")
    deadline = time.monotonic() + 30
    while (server.state / "snapshot").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not (server.state / "snapshot").exists(), (server.state / "timer.log").read_text()
    assert server.kernel() == xdp
    assert server.node("diff") == []
