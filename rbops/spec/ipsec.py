"""The section ``ipsec:``: ESP tunnels to other gateways."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Address, FilePath, Prefix, number
from rbops.spec.section import CONFIG, Section

__all__ = ["Tunnel"]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Tunnel(Section):
    """An ESP tunnel to another gateway, for `application: ipsec`."""

    peer: Address
    """The other gateway's IPv4 address; the routes lead there."""
    prefixes: Annotated[tuple[Prefix, ...], Field(min_length=1)] = ("0.0.0.0/0",)
    """Destinations that go through the tunnel; the longest of all tunnels' counts."""
    spi: Annotated[int, number(1, 65535), Field(examples=[1])]
    """The upper half of the tunnel's SPIs; the lower one is server and core, each with an association of its own."""
    keys: Annotated[FilePath, Field(examples=["peer.keys"])]
    """A file for its owner alone (mode 0600) with two words of 32 hex digits: encryption key, authentication key."""
