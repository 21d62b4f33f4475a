"""The section ``ports:``: external ports and their neighbours, as far as the user fixes them."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.common.limits import MAX_EXTERNAL_PORTS
from rbops.spec.router import Urpf
from rbops.spec.scalars import Address, Address6, HostName, InterfaceAddress, InterfaceAddress6, Mac, number, one_of
from rbops.spec.section import CONFIG, Section

__all__ = ["Neighbor", "Neighbor6", "PortIpv6", "PortSpec"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Neighbor(Section):
    """A next hop on an external port."""

    address: Address
    """Its IPv4 address, in the port's subnet."""
    mac: Mac | None = None
    """Its MAC; left out: resolved by the kernel, on the slow path."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Neighbor6(Section):
    """An IPv6 next hop on an external port."""

    address: Address6
    """Its IPv6 address, in the port's subnet."""
    mac: Mac | None = None
    """Its MAC; left out: resolved by the kernel, on the slow path."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class PortIpv6(Section):
    """IPv6 on an external port, beside IPv4."""

    address: InterfaceAddress6
    """The router's address and subnet on it, /16 to /127; /128 where neighbours have link-local addresses alone."""
    neighbors: tuple[Neighbor6, ...] = ()
    """The next hops on it."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class PortSpec(Section):
    """An external port, as far as it is not to be generated."""

    id: Annotated[int, number(0, MAX_EXTERNAL_PORTS - 1), Field(examples=[0])]
    """Its number, from 0."""
    server: HostName | None = None
    """The server that it is on."""
    address: InterfaceAddress | None = None
    """The router's address and subnet on it; /32 where neighbours have IPv6 link-local addresses alone."""
    # None: not written, so the generated neighbour when the address is generated too, and none otherwise.
    neighbors: tuple[Neighbor, ...] | None = None
    """The next hops on it."""
    ipv6: PortIpv6 | None = None
    """IPv6 on it (xdp only); left out: none."""
    urpf: Annotated[Urpf | None, one_of(Urpf)] = None
    """How its packets' sources are checked; left out: as `router.urpf` says."""
