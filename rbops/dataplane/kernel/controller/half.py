"""The kernel as data plane, as rbops asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbops.dataplane.base import NOT_LOADED, Controller, Rendering

if TYPE_CHECKING:
    from rbops.plan import ClusterPlan
    from rbops.planning.servers import Built
    from rbops.render.routes import Table
    from rbops.spec import Spec
    from rbops.topology.choice import Choice

__all__ = ["HALF"]


class _Kernel(Controller):
    kind = "kernel"
    balances = False
    dynamic = True
    checks = Path(__file__).with_name("checks") / "test_dataplane.py"

    def packet_cycles(self, spec: Spec) -> float:
        from rbops.hardware.costs import KERNEL_CYCLES

        return KERNEL_CYCLES

    def no_steering(self, spec: Spec) -> str | None:
        return "frames between kernels have the devices' own addresses: rules by MAC cannot distinguish ports"

    def offloads(self, spec: Spec, driver: str, *, steering: bool) -> Iterator[tuple[str, bool]]:
        """GRO keeps veth's NAPI running, which frames need that a program redirects to it; a router merges nothing
        that it could not send on as it came.
        """
        yield from (("gro", True), ("lro", False))
        if driver == "veth":
            yield "tx", False

    def limits(self, spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
        from rbops.spec.punts import Punts

        yield (
            "the kernel data plane does not balance load: each pair of servers uses one shortest path, so "
            f"`routing: {spec.interconnect.routing}` and the flowlet timeout have no effect, and rates, latency and "
            "link loads given here for VLB do not hold"
        )
        if choice.trial.parallel > 1:
            yield f"{choice.trial.parallel} cables run between each two servers, and the kernel's routes use the first"

        if spec.punts != Punts():
            yield "punts: the kernel data plane gives all packets to the kernel, at any rate"

    def batching(self, spec: Spec) -> Iterator[str]:
        yield f"rx_burst {spec.batching.rx_burst} and tx_burst {spec.batching.tx_burst}: they enter the prediction only"

    def render(self, plan: ClusterPlan, digest: str, routes: Table) -> Rendering:
        from rbops.dataplane.kernel.controller.rendering import KernelRendering

        return KernelRendering(plan)

    def hops(self, plan: ClusterPlan, source: str, target: str) -> int:
        """Every server on the path is a router of its own."""
        from rbops.dataplane.kernel.controller.rendering import distance

        return 1 + distance(plan, source, target)

    def loses_early(self, plan: ClusterPlan) -> bool:
        return True

    def status_line(self, status: Mapping[str, Any]) -> str:
        return f"{status.get('ports')} ports, forwarding" if status.get("loaded") else NOT_LOADED


HALF = _Kernel()
