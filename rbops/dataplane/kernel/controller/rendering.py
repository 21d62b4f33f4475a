"""Addresses and gateways of plain routing over the internal cables."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from rbops.dataplane.base import ServerPart
from rbops.dataplane.kernel.config import KernelPlaneConfig
from rbops.node.schema import Fabric, NodePort
from rbops.plan import ClusterPlan, Server
from rbops.render.files import File

__all__ = ["KernelRendering", "distance"]

_RP_FILTER = {"off": "0", "strict": "1", "loose": "2"}
"""As ip-sysctl.rst of the kernel has them."""

_UNNUMBERED = int(IPv4Address("169.254.1.0"))
"""Servers without external ports have no address of the router: link-local ones by their index."""


@dataclass(frozen=True, slots=True)
class KernelRendering:
    """Internal ports are unnumbered: each has the server's first router address, which the neighbours find by ARP."""

    plan: ClusterPlan

    @property
    def common(self) -> tuple[File, ...]:
        """None: the routes are the router's own."""
        return ()

    def server(self, server: Server, fabric: Fabric) -> ServerPart:
        """The next server on the path to each owner of ports, by its address."""
        peers = {port.name: port.peer_server for port in fabric.ports if port.peer_server is not None}
        gateways = {owner: _address(self.plan.servers[peers[port]]) for owner, port in fabric.next_hop.items()}
        checked = {f"net.ipv4.conf.{port.name}.rp_filter": _RP_FILTER[port.urpf] for port in server.ports}
        checked = {key: value for key, value in checked.items() if value != _RP_FILTER["off"]}
        return ServerPart(KernelPlaneConfig(fabric, gateways), sysctl=checked)

    def port(self, server: Server, port: NodePort) -> NodePort:
        """Frames have the devices' own addresses, which ARP finds."""
        if port.kind == "external":
            return port
        return replace(port, promiscuous=False, arp=True, addresses=(f"{_address(server)}/32",))


def _address(server: Server) -> str:
    own = (address for port in server.ports for address in port.addresses)
    return next(own, f"{IPv4Address(_UNNUMBERED + server.index)}/32").partition("/")[0]


def distance(plan: ClusterPlan, source: str, target: str) -> int:
    """Cables on a shortest path between two servers."""
    linked: dict[str, list[str]] = {}
    for link in plan.links:
        a, b = (end.partition(":")[0] for end in (link.a, link.b))
        linked.setdefault(a, []).append(b)
        linked.setdefault(b, []).append(a)
    found = {source: 0}
    queue = deque([source])
    while queue and target not in found:
        here = queue.popleft()
        for there in linked.get(here, ()):
            if there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return found[target]
