"""The four-server router of the paper, planned by hand: tests of rendering do not depend on the planner."""

from __future__ import annotations

from rbops.nic.settings import NicSetup
from rbops.plan import ClusterPlan, Route, Routes
from tests.support.plans import Mesh, connected_routes

RATE = 10_000_000_000
NICS = {
    "veth": NicSetup("veth", offloads=(("gro", True), ("lro", False), ("tx", False))),
    "mlx5_core": NicSetup(
        "mlx5_core",
        rx_ring=1024,
        tx_ring=1024,
        adaptive=False,
        rx_usecs=100,
        rx_frames=16,
        rss_key="symmetric",
        threaded_napi=True,
        defer_hard_irqs=2,
        flush_timeout_ns=200_000,
        offloads=(("gro", True), ("lro", False), ("rx-gro-hw", False), ("rxvlan", False), ("ntuple", True)),
        steering="hardware",
    ),
}


def mesh(count: int = 4, *, driver: str = "veth") -> ClusterPlan:
    """A full mesh of ``count`` servers with one external port each."""
    connected = connected_routes(count)
    static = (
        Route("203.0.113.0/24", count - 1, 1, f"198.18.{count - 1}.2"),
        Route("203.0.113.128/25", 0, 1, "198.18.0.2"),
    )
    whole = Mesh(f"rb{count}", count, RATE, driver=driver, nics=(NICS.get(driver, NicSetup(driver)),))
    return whole.plan(Routes(connected, static, count=len(connected) + len(static)))
