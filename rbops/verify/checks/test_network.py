"""The ports have links, and the kernel reaches the other servers.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.verify.plugin import Case


def test_up(port_case: Case) -> None:
    """The port is up and has a carrier, and the data plane at the other end of an internal cable answers."""
    link = port_case.server.link(port_case.port)
    assert "UP" in link["flags"], "the port is administratively down"
    assert "LOWER_UP" in link["flags"], "the port has no carrier: is the cable in, and the far end up?"
    server, port = port_case.server, port_case.port
    answered = port.kind == "external" or port.name not in server.reach.silent(server)
    assert answered, "the far end's data plane does not answer: the cable is left out (see `rbops status`)"


def test_slow_path(peer_case: Case) -> None:
    """The kernel reaches every other server over the internal link the plan names, or through its data plane."""
    server, peer = peer_case.server, peer_case.peer
    assert peer is not None
    have = server.reach.device(server, peer)
    if server.node.host is not None:
        want = server.node.host.device
    else:
        planned = server.node.dataplane.fabric.next_hop[peer.node.index]
        want = server.device(next(port for port in server.node.ports if port.name == planned))
    assert have == want, f"the kernel sends to {peer.name} by {have}, planned {want}"
