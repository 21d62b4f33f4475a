"""Plans for labs, made by hand: a full mesh with one external port a server."""

from __future__ import annotations

from rbops.plan import (
    Adjacency,
    Batching,
    ClusterPlan,
    Cores,
    Forwarding,
    Latency,
    Link,
    LinkRate,
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

GBPS = 1_000_000_000


def mesh(
    servers: int = 2, *, name: str = "labtest", cores: tuple[int, ...] = (0,), profile: str = "lab", names: str = "n"
) -> ClusterPlan:
    """``servers`` servers n0, n1, ... each with ext{i} and an internal port to every other one, a queue a core."""
    queues = tuple(Queue(index, core, core) for index, core in enumerate(cores))
    return ClusterPlan(
        name=name,
        topology=Topology("mesh", servers - 1, 0, 1, servers, 0, servers, LinkRate(GBPS, GBPS), Processing(2, 3, 4)),
        links=tuple(
            Link(f"{names}{a}:int{b}", f"{names}{b}:int{a}", GBPS)
            for a in range(servers)
            for b in range(a + 1, servers)
        ),
        servers=tuple(_server(index, servers, queues, cores, profile, names) for index in range(servers)),
        forwarding=Forwarding("xdp", "route", "direct-vlb", GBPS // servers, 0.1),
        routes=Routes(tuple(Route(f"198.18.{i}.0/24", i, 0, None) for i in range(servers)), ()),
        violations=(),
        warnings=(),
        prediction=Prediction(
            "cpu", GBPS, 1_000_000, PerComponent(GBPS, None, None, None, None, None), Latency(1e-5, 2e-5), None, None
        ),
    )


def _server(
    index: int, servers: int, queues: tuple[Queue, ...], cores: tuple[int, ...], profile: str, names: str
) -> Server:
    external = Port(
        f"ext{index}",
        "external",
        None,
        GBPS,
        queues,
        id=index,
        addresses=(f"198.18.{index}.1/24",),
        adjacencies=(Adjacency(1, f"198.18.{index}.2", f"02:4e:00:{index:02x}:00:02"),),
    )
    internal = [
        Port(f"int{other}", "internal", f"{names}{other}:int{index}", GBPS, queues)
        for other in range(servers)
        if other != index
    ]
    return Server(
        name=f"{names}{index}",
        index=index,
        role="port",
        external_ports=(index,),
        cores=Cores(cores, ()),
        ports=(external, *internal),
        steering=(),
        batching=Batching(32, 16, 1e-4),
        profile=profile,
    )
