"""A server's part of the tunnels that the kernels encrypt for: an association of its own for what it sends.

Every server sends with its own SPI, so that none of them shares sequence numbers with another (RFC 9611 has the idea);
what the peer sends is decrypted by the server that has the tunnel's address.
"""

from __future__ import annotations

from rbops.dataplane import registry
from rbops.errors import UsageError
from rbops.node.schema.ipsec import NodeIke, NodeTunnel, TunnelConfig
from rbops.plan import ClusterPlan, Server, Tunnel

__all__ = ["FILE", "home", "ike_tunnels", "kernel_tunnels", "node_part", "static_tunnels"]

FILE = "/etc/rbops/ipsec.keys"
"""The tunnels' keys on every server, root's with mode 0600."""


def kernel_tunnels(plan: ClusterPlan) -> tuple[Tunnel, ...]:
    """Those that the servers' kernels encrypt for; none where the data plane does it itself."""
    if not registry.controller(plan.forwarding.dataplane).kernel_ipsec:
        return ()
    return plan.forwarding.tunnels


def static_tunnels(plan: ClusterPlan) -> tuple[Tunnel, ...]:
    """Those of them with keys from a file."""
    return tuple(tunnel for tunnel in kernel_tunnels(plan) if tunnel.ike is None)


def ike_tunnels(plan: ClusterPlan) -> tuple[Tunnel, ...]:
    """Those of them with keys by IKE: one server encrypts for each, and the others send it what they take in."""
    return tuple(tunnel for tunnel in kernel_tunnels(plan) if tunnel.ike is not None)


def home(plan: ClusterPlan, tunnel: Tunnel) -> int:
    """The external port with the tunnel's address; UsageError (2) where none has it."""
    for port in (port for server in plan.servers for port in server.ports if port.id is not None):
        if any(address.partition("/")[0] == tunnel.local for address in port.addresses) and port.id is not None:
            return port.id
    raise UsageError(f"no port of the plan has the address {tunnel.local}", code="render.tunnel-port")


def node_part(plan: ClusterPlan, server: Server) -> TunnelConfig | None:
    """What node.json says; None where there are no such tunnels."""
    tunnels = kernel_tunnels(plan)
    if not tunnels:
        return None
    return TunnelConfig(FILE, tuple(_tunnel(plan, tunnel, server) for tunnel in tunnels))


def _tunnel(plan: ClusterPlan, tunnel: Tunnel, server: Server) -> NodeTunnel:
    local = str(tunnel.local)
    return NodeTunnel(
        number=tunnel.spi,
        local=local,
        peer=tunnel.peer,
        own=local in server.own_addresses,
        prefixes=tunnel.prefixes,
        sources=tunnel.sources,
        cipher=tunnel.cipher,
        spi_out=tunnel.outward_spi(server.index),
        spi_in=tunnel.inward_spi,
        salt=server.index,
        replay_window=tunnel.replay_window,
        esn=tunnel.esn,
        keys=tunnel.keys or "",
        udp=tunnel.udp,
        ike=None if tunnel.ike is None else NodeIke(tunnel.ike.psk, *tunnel.ids, home(plan, tunnel)),
    )
