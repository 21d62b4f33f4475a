"""The section ``ipsec:``: ESP tunnels to other gateways, with keys from a file or from IKEv2."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec import words
from rbops.spec.scalars import Address, FilePath, Flag, Prefix, Scalar, Time, number, one_of
from rbops.spec.section import CONFIG, Section, default

__all__ = ["CIPHERS", "Cipher", "Ike", "Start", "Tunnel"]

Cipher = Literal["aes128gcm16", "aes256gcm16", "aes128-sha256"]
Start = Literal["now", "traffic"]

_ID = {"type": "string", "pattern": "^[A-Za-z0-9]", "examples": ["gw.example.net", "198.18.3.2"]}
IkeId = Annotated[str, Scalar(words.ike_id, _ID)]

CIPHERS: dict[str, tuple[int, ...]] = {"aes128gcm16": (40,), "aes256gcm16": (72,), "aes128-sha256": (32, 64)}
"""Hex digits of the words of each direction in a key file: AES key with salt (RFC 4106), or AES and HMAC keys."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Ike(Section):
    """How a tunnel's keys are negotiated (IKEv2, RFC 7296), by strongSwan on the server with the tunnel's address."""

    psk: Annotated[FilePath, Field(examples=["peer.psk"])]
    """A file for its owner alone (mode 0600) with the pre-shared key: 20 to 200 characters on one line."""
    local_id: IkeId | None = None
    """What the router calls itself to the peer; left out: the tunnel's address."""
    peer_id: IkeId | None = None
    """What the peer calls itself; left out: its address."""
    rekey: Time = default(3600.0, "1h")
    """After how long the tunnel's keys are replaced, give or take a tenth; IKE's own after four times that."""
    dpd: Time = default(30.0, "30s")
    """After how long a silence the peer is asked whether it is there (RFC 7296, 2.4); 0: never."""
    start: Annotated[Start, one_of(Start)] = "now"
    """now: at once, and again with the first packet where that failed; traffic: with the first packet only."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Tunnel(Section):
    """An ESP tunnel to another gateway, for `application: ipsec`."""

    peer: Address
    """The other gateway's IPv4 address; the routes lead there."""
    prefixes: Annotated[tuple[Prefix, ...], Field(min_length=1)] = ("0.0.0.0/0",)
    """Destinations that go through the tunnel; the longest of all tunnels' counts, with xdp of all routes' too."""
    spi: Annotated[int, number(1, 65535), Field(examples=[1])]
    """The tunnel's number, and upper half of its SPIs; the lower one is server and core. With `ike` it is no SPI."""
    keys: Annotated[FilePath | None, Field(examples=["peer.keys"])] = None
    """A file for its owner alone (mode 0600) with the keys in hex digits; how many depends on the data plane."""
    ike: Ike | None = None
    """IKEv2 instead of `keys`, xdp only: the server with the tunnel's address negotiates them."""
    local: Address | None = None
    """The router's address that the peer knows, xdp only; without it, that of the port that the peer is behind."""
    sources: Annotated[tuple[Prefix, ...], Field(min_length=1)] = ("0.0.0.0/0",)
    """The networks on this side, xdp only: sources of what goes in, and destinations of what comes out."""
    cipher: Annotated[Cipher, one_of(Cipher)] = "aes128gcm16"
    """AES-GCM with 128 or 256 bits (RFC 4106), or AES-CBC with HMAC-SHA-256 (RFC 4868); xdp only."""
    spi_in: Annotated[int, number(256, 0xFFFFFFFF)] | None = None
    """The SPI of what the peer sends, xdp only; without it `spi` times 65536."""
    replay_window: Annotated[int, number(0, 4096)] = 1024
    """Packets that may come late, xdp only; 0 accepts a packet twice."""
    esn: Flag = True
    """Sequence numbers of 64 bits (RFC 4303, 2.2.1), xdp only: without them a tunnel ends after 4 billion packets."""
    udp: Flag = False
    """ESP in UDP, port 4500 at both ends (RFC 3948), xdp only: through a NAT, or a network that ESP does not pass."""

    @property
    def ids(self) -> tuple[str, str]:
        """What router and peer call themselves in IKE."""
        local = self.ike.local_id if self.ike else None
        return local or str(self.local), (self.ike.peer_id if self.ike else None) or self.peer

    def outward_spi(self, server: int) -> int:
        """What a server sends with, by its index (xdp)."""
        return self.spi << 16 | server << 8

    @property
    def inward_spi(self) -> int:
        """What the peer sends with (xdp)."""
        return self.spi_in if self.spi_in is not None else self.spi << 16
