"""The four-server router of the paper, planned by hand: tests of rendering do not depend on the planner."""

from __future__ import annotations

from dataclasses import replace

from rbops.plan import (
    Adjacency,
    Batching,
    ClusterPlan,
    Cores,
    Forwarding,
    Latency,
    Link,
    LinkRate,
    NicSetup,
    PerComponent,
    Port,
    Prediction,
    Processing,
    Queue,
    Route,
    Routes,
    Server,
    Topology,
)

RATE = 10_000_000_000
QUEUES = (Queue(0, 0, 0), Queue(1, 1, 1))
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
    connected: list[Route] = []
    for port in range(count):
        connected += [
            Route(f"198.18.{port}.0/24", port, 0, None),
            Route(f"198.18.{port}.1/32", port, 0, None),
            Route(f"198.18.{port}.2/32", port, 1, None),
        ]
    static = (
        Route("203.0.113.0/24", count - 1, 1, f"198.18.{count - 1}.2"),
        Route("203.0.113.128/25", 0, 1, "198.18.0.2"),
    )
    return ClusterPlan(
        name=f"rb{count}",
        topology=Topology(
            "mesh", count - 1, 0, 1, count, 0, count, LinkRate(RATE // 2, RATE), Processing(RATE * 2, RATE * 3, RATE)
        ),
        links=tuple(Link(f"n{a}:int{b}", f"n{b}:int{a}", RATE) for a in range(count) for b in range(a + 1, count)),
        servers=tuple(server(index, count, driver) for index in range(count)),
        forwarding=Forwarding("xdp", "route", "direct-vlb", RATE // count, 0.1),
        routes=Routes(tuple(connected), static, count=len(connected) + len(static)),
        violations=(),
        warnings=(),
        prediction=Prediction(
            "cpu", RATE, RATE // 672, PerComponent(RATE, *(None,) * 5), Latency(1e-5, 2e-5), None, None
        ),
    )


def server(index: int, count: int, driver: str) -> Server:
    """Server ``index``: its external port, then a port to each other server."""
    external = Port(
        name=f"ext{index}",
        kind="external",
        peer=None,
        rate_bps=RATE,
        queues=QUEUES,
        id=index,
        addresses=(f"198.18.{index}.1/24",),
        adjacencies=(Adjacency(1, f"198.18.{index}.2", f"02:4e:{index >> 8:02x}:{index & 255:02x}:00:02"),),
        driver=driver,
    )
    internal = tuple(
        Port(f"int{peer}", "internal", f"n{peer}:int{index}", RATE, QUEUES, driver=driver)
        for peer in range(count)
        if peer != index
    )
    return Server(
        f"n{index}",
        index,
        "port",
        (index,),
        Cores((0, 1), ()),
        (external, *internal),
        (),
        Batching(32, 16, 1e-4),
        "lab",
        (NICS.get(driver, NicSetup(driver)),),
    )


def named(plan: ClusterPlan, **changes: str) -> ClusterPlan:
    """The plan with another name."""
    return replace(plan, **changes)
