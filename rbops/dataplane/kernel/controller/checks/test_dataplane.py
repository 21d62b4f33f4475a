"""The kernel as data plane: it forwards, nothing takes frames before it, and routes lead where the plan says.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.dataplane.kernel.config import KernelPlaneConfig
from rbops.verify.plugin import Case


def test_forwards(server_case: Case) -> None:
    """The kernel forwards IPv4."""
    found = server_case.server.output("cat /proc/sys/net/ipv4/ip_forward").strip()
    assert found == "1", f"net.ipv4.ip_forward is {found}: the kernel forwards nothing"


def test_no_program(port_case: Case) -> None:
    """No XDP program is attached: it would take frames before the kernel sees them."""
    xdp = port_case.server.link(port_case.port).get("xdp")
    assert not xdp, f"an XDP program is attached: {xdp}"


def test_no_click(server_case: Case) -> None:
    """No Click of rbops's runs: it would forward every packet a second time."""
    service = server_case.server.host.service("rbops-click.service")
    assert not service.is_running, "rbops-click.service runs: another data plane's"


def test_gateways(peer_case: Case) -> None:
    """The kernel's route to another server goes by the planned gateway."""
    server, peer = peer_case.server, peer_case.peer
    assert peer is not None
    planned = server.node.dataplane
    assert isinstance(planned, KernelPlaneConfig)
    want = planned.gateways[peer.node.index]
    (route,) = server.json("ip -j route get %s", peer.external_address)
    found = route.get("gateway", "no gateway")
    assert found == want, f"the kernel sends to {peer.name} by {found}, planned {want}"
