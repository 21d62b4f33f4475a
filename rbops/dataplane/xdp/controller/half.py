"""The XDP data plane as rbops asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbops.dataplane.base import NOT_LOADED, Controller, Places, Rendering

if TYPE_CHECKING:
    from rbops.plan import ClusterPlan
    from rbops.planning.servers import Built
    from rbops.render.routes import Table
    from rbops.spec import Spec
    from rbops.topology.choice import Choice

__all__ = ["HALF"]


class _Xdp(Controller):
    kind = "xdp"
    applications = ("forward", "route", "ipsec")
    kernel_ipsec = True
    answers_probes = True
    drains = True
    samples = True
    dynamic = True
    ipv6 = True
    follower = "rbops-fib.service"
    rings_by_cpu = True
    places = Places(
        own=("/etc/rbops/xdp", "/etc/rbops/fib.bin", "/etc/rbops/ipsec.keys"),
        beside=("/etc/systemd/system/rbops-fib.service",),
    )
    checks = Path(__file__).with_name("checks") / "test_dataplane.py"

    def offloads(self, spec: Spec, driver: str, *, steering: bool) -> Iterator[tuple[str, bool]]:
        """GRO keeps veth's NAPI running, which a redirect needs; merged frames and cut-off tags must not reach XDP.

        A veth computes no checksum: it hands frames on unfinished, and the far end's XDP forwards them so.
        """
        yield from (("gro", True), ("lro", False))
        if driver == "veth":
            yield "tx", False
            return
        yield from (("rx-gro-hw", False), ("rxvlan", False), ("rx-vlan-stag-hw-parse", False))
        if steering:
            yield "ntuple", True

    def detached(self, device: str) -> str:
        return f"ip link set dev {device} xdp off"

    def limits(self, spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
        from rbops.dataplane.xdp.controller.warnings import limits

        return limits(spec, choice, built)

    def batching(self, spec: Spec) -> Iterator[str]:
        from rbops.dataplane.xdp.controller.warnings import batching

        return batching(spec)

    def render(self, plan: ClusterPlan, digest: str, routes: Table) -> Rendering:
        from rbops.dataplane.xdp.controller.rendering import rendering

        return rendering(plan, routes)

    def status_line(self, status: Mapping[str, Any]) -> str:
        devices = status.get("devices") or {}
        modes = sorted({str(device.get("mode")) for device in devices.values()})
        if not devices:
            return NOT_LOADED
        refused = sum((status.get("refused") or {}).values())
        told = f", {refused:,} frames refused" if refused else ""
        return f"{len(devices)} ports {'/'.join(modes)}{told}"


HALF = _Xdp()
