"""The section ``monitoring:``: what the data plane cannot do, and a collector that the servers cannot reach."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from rbops.dataplane import registry
from rbops.errors import Diagnostic
from rbops.spec.monitoring import Sflow
from rbops.spec.validate import Parts, located, text_at

__all__ = ["check_sflow"]

_PATH = ("monitoring", "sflow")


def check_sflow(parts: Parts, sflow: Sflow | None) -> Iterator[Diagnostic]:
    """Mistakes of a section that is valid by itself."""
    if sflow is None:
        return
    kind = text_at(parts.root, "dataplane") or registry.KINDS[0]
    if kind in registry.KINDS and not registry.controller(kind).samples:
        message = f"the {kind} data plane samples no frames"
        yield located(parts.root, _PATH, message, "write `dataplane: xdp`", key=True, code="spec.unsupported")
    collector = ip_address(sflow.collector)
    if sflow.network is not None and ip_network(sflow.network).version != collector.version:
        message = f"{sflow.network} has no address that could send to {collector}"
        hint = "write a network of the collector's family"
        yield located(parts.root, (*_PATH, "network"), message, hint, code="spec.conflict")
    for port in parts.ports.values():
        subnets = (port.address, None if port.ipv6 is None else port.ipv6.address)
        if any(subnet is not None and collector in ip_interface(subnet).network for subnet in subnets):
            message = f"{collector} is in the subnet of port {port.id}, and samples leave by the management network"
            hint = "write the collector's address in the management network"
            yield located(parts.root, (*_PATH, "collector"), message, hint, code="spec.conflict")
