"""The section ``punts:``: how many packets may go to a server's kernel, by reason."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from rbops.spec.scalars import number
from rbops.spec.section import CONFIG, Section

__all__ = ["PuntRate", "Punts"]

MOST = 1_000_000

PuntRate = Annotated[int, number(0, MOST)]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Punts(Section):
    """Packets a second that a core may give its kernel from one port, by reason; what is beyond is dropped, counted."""

    local_delivery: PuntRate = 20_000
    """For the router's own addresses; TCP, its first packets, BGP, BFD, OSPF, ICMP and all else have this rate each."""
    unresolved: PuntRate = 50_000
    """For a neighbour whose MAC the kernel finds and whose packets it therefore forwards."""
    too_big: PuntRate = 20_000
    """Longer than the output port's MTU: the kernel cuts them, or says so to the sender."""
    arp: PuntRate = 1_000
    """ARP requests and replies."""
    ttl: PuntRate = 1_000
    """With a TTL of 1 or 0: answered with time exceeded."""
    no_route: PuntRate = 1_000
    """Without a route: answered with net unreachable."""
    options: PuntRate = 1_000
    """With IP options."""
    multicast: PuntRate = 1_000
    """To multicast addresses, such as those of routing protocols."""
    broadcast: PuntRate = 200
    """To everybody, and not ARP."""
    not_fabric: PuntRate = 1_000
    """From an internal cable and not for another port, such as LLDP."""
    ndp: PuntRate = 1_000
    """Neighbour discovery, IPv6's ARP."""
    ipsec: PuntRate = MOST
    """For a tunnel, or from its peer: what the kernel encrypts and decrypts."""
    ipv6: PuntRate = 200
    """IPv6 where the router has none."""
    vlan: PuntRate = 200
    """Tagged."""
    other_protocol: PuntRate = 200
    """Of another EtherType."""
