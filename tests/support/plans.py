"""Plans made by hand, for tests that must not depend on the planner: a full mesh with one external port a server."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.nic.settings import NicSetup
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

__all__ = ["Mesh", "connected_routes"]


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the plan is made of; ``plan`` makes it.

    Server i is ``{prefix}{i}`` with external port i, and an internal port to each other one if they are
    ``cabled``; each core of ``cores`` has a queue of its own at every port.
    """

    name: str
    servers: int
    rate_bps: int
    cores: tuple[int, ...] = (0, 1)
    profile: str = "lab"
    prefix: str = "n"
    driver: str = "veth"
    cabled: bool = True
    nics: tuple[NicSetup, ...] = ()

    def plan(self, routes: Routes) -> ClusterPlan:
        """The plan with these routes; what a prediction says is made up."""
        rate, count = self.rate_bps, self.servers
        return ClusterPlan(
            name=self.name,
            topology=Topology(
                "mesh",
                count - 1,
                0,
                1,
                count,
                0,
                count,
                LinkRate(rate // 2, rate),
                Processing(2 * rate, 3 * rate, rate),
            ),
            links=self._links(),
            servers=tuple(self._server(index) for index in range(count)),
            forwarding=Forwarding("xdp", "route", "direct-vlb", rate // count, 0.1),
            routes=routes,
            violations=(),
            warnings=(),
            prediction=Prediction(
                "cpu", rate, rate // 672, PerComponent(rate, *(None,) * 5), Latency(1e-5, 2e-5), None, None
            ),
        )

    def _links(self) -> tuple[Link, ...]:
        if not self.cabled:
            return ()
        pairs = [(a, b) for a in range(self.servers) for b in range(a + 1, self.servers)]
        return tuple(Link(f"{self.prefix}{a}:int{b}", f"{self.prefix}{b}:int{a}", self.rate_bps) for a, b in pairs)

    def _server(self, index: int) -> Server:
        return Server(
            name=f"{self.prefix}{index}",
            index=index,
            role="port",
            external_ports=(index,),
            cores=Cores(self.cores, ()),
            ports=self._ports(index),
            steering=(),
            batching=Batching(32, 16, 1e-4),
            profile=self.profile,
            nics=self.nics,
        )

    def _ports(self, index: int) -> tuple[Port, ...]:
        queues = tuple(Queue(number, core, core) for number, core in enumerate(self.cores))
        external = Port(
            name=f"ext{index}",
            kind="external",
            peer=None,
            rate_bps=self.rate_bps,
            queues=queues,
            id=index,
            addresses=(f"198.18.{index}.1/24",),
            adjacencies=(Adjacency(1, f"198.18.{index}.2", f"02:4e:{index >> 8:02x}:{index & 255:02x}:00:02"),),
            driver=self.driver,
        )
        others = [other for other in range(self.servers) if other != index] if self.cabled else []
        internal = [
            Port(
                f"int{other}", "internal", f"{self.prefix}{other}:int{index}", self.rate_bps, queues, driver=self.driver
            )
            for other in others
        ]
        return (external, *internal)


def connected_routes(ports: int, *, own: bool = True, neighbours: bool = True) -> tuple[Route, ...]:
    """Each port's network; with ``own`` the router's address on it, with ``neighbours`` the neighbour's."""
    found: list[Route] = []
    for port in range(ports):
        found.append(Route(f"198.18.{port}.0/24", port, 0, None))
        found += [Route(f"198.18.{port}.1/32", port, 0, None)] if own else []
        found += [Route(f"198.18.{port}.2/32", port, 1, None)] if neighbours else []
    return tuple(found)
