"""The spec as a whole: YAML's sections as frozen values, which planner and plan work with.

Units are in the names: ``_bps`` bits per second, ``_hz`` hertz, ``_s`` seconds, ``_bytes``,
``_w`` watts, ``_usd`` US dollars. What the user left out and the planner generates is None or
empty. Nothing here reads files; ``rbops.spec.load_spec`` does.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.dataplane import registry
from rbops.errors import Diagnostic
from rbops.spec.batching import Batching
from rbops.spec.click import Click
from rbops.spec.hosts import Host, NicSection, Servers
from rbops.spec.interconnect import Interconnect
from rbops.spec.ipsec import Tunnel
from rbops.spec.kernel import Kernel
from rbops.spec.monitoring import Monitoring
from rbops.spec.nic import NicTuning
from rbops.spec.ports import PortSpec
from rbops.spec.punts import Punts
from rbops.spec.router import Router
from rbops.spec.routes import RouteFile, Routes, StaticRoute
from rbops.spec.routing import Routing
from rbops.spec.scalars import HostName, RouterName, one_of
from rbops.spec.section import CONFIG, Section, Unwritten
from rbops.spec.source import Source
from rbops.spec.words6 import is_ipv6

__all__ = ["Spec"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Spec(Section):
    """A router built of commodity servers, for rbops."""

    name: RouterName
    """The router's name; left out: the file's."""
    router: Router
    """What the router must do; the only section that must be there."""
    servers: Servers = Field(default_factory=Servers)
    """What the servers are made of."""
    interconnect: Interconnect = Field(default_factory=Interconnect)
    """How the servers are joined."""
    batching: Batching = Field(default_factory=Batching)
    """How many packets are handled at once."""
    dataplane: Annotated[str, one_of(registry.KINDS)] = registry.KINDS[0]
    """xdp: bundled, any recent kernel; click: the paper's own; kernel: the servers' own kernels route, a baseline."""
    click: Click = Field(default_factory=Click)
    """Which Click runs, for `dataplane: click`."""
    ipsec: tuple[Tunnel, ...] = ()
    """Tunnels, for `application: ipsec`."""
    nic: NicSection = Field(default_factory=NicTuning)
    """How the devices of the ports are set."""
    punts: Punts = Field(default_factory=Punts)
    """What a core may give its kernel from one port, by reason, in packets a second."""
    kernel: Kernel = Field(default_factory=Kernel)
    """What the servers' kernels are told at boot, and what else of them is set."""
    ports: tuple[PortSpec, ...] = ()
    """External ports; what is left out is generated."""
    hosts: Mapping[HostName, Host] = Field(default_factory=dict)
    """Real servers, by name."""
    routes: Routes = ()
    """Static routes, or {file: routes.csv} for very many."""
    routing: Routing | None = None
    """Routes that come and go; left out: static routes alone."""
    monitoring: Monitoring = Field(default_factory=Monitoring)
    """What the servers tell of themselves to programs that collect figures."""
    # Warnings about keys and values that once were called otherwise.
    deprecated: Annotated[tuple[Diagnostic, ...], Unwritten()] = dataclasses.field(
        default=(), compare=False, repr=False
    )
    # Knows where each value was written, for errors that the planner finds.
    source: Annotated[Source, Unwritten()] = dataclasses.field(default_factory=Source, compare=False, repr=False)

    @property
    def static_routes(self) -> dict[int, StaticRoute]:
        """The IPv4 routes that are written in the spec itself, by their place there."""
        return {at: route for at, route in enumerate(self._written_routes) if not is_ipv6(route.prefix)}

    @property
    def static_routes6(self) -> tuple[StaticRoute, ...]:
        """The IPv6 routes."""
        return tuple(route for route in self._written_routes if is_ipv6(route.prefix))

    @property
    def _written_routes(self) -> tuple[StaticRoute, ...]:
        return () if isinstance(self.routes, RouteFile) else self.routes

    @property
    def route_file(self) -> RouteFile | None:
        """The file that holds the routes instead."""
        return self.routes if isinstance(self.routes, RouteFile) else None

    def port(self, port_id: int) -> PortSpec:
        """What the user fixed of external port ``port_id``; an empty PortSpec when nothing."""
        return next((port for port in self.ports if port.id == port_id), PortSpec(port_id))
