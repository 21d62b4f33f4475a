"""The other end of a tunnel, as its administrator sets it up by hand: iproute2's own words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CBC", "GCM", "OTHER", "Peer", "key_file"]

GCM = ("0ebd87b09738631d9449853b3700b5af9c378c8c", "9b9875e428766d1a07e5c8f76a6632e96e166926")
"""Keys of what the router sends and of what its peer sends, each with its salt."""
OTHER = ("19c398ee74a7055a42b96d7d7bf56c3bd3f94b7b", "603be0a5c0d80682f763709bc4d486aad11b024d")
"""Those of a second tunnel."""
CBC = (
    "4e1a1cbef51cd408f5003d78fe166aa7", "9c39312fc1f9b6bda71ad20e3fc20592f30550d7737091058548a9f4cf345914",
    "22eddd3f0b4f2101b3021afa89a8e117", "ee9949253e8b0a8891e3aade84c75af277710375ef3ee9c484f2fbc1c026236e",
)  # fmt: skip


def key_file(keys: Iterable[str]) -> str:
    """What a user writes."""
    return "\n".join(keys) + "\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """``address`` is the peer's, ``router`` where it sends to; ``inside`` is behind it, ``outside`` behind the router.

    ``servers``: how many send to it.
    """

    address: str
    router: str
    inside: str
    outside: str
    spi: int
    servers: int
    keys: tuple[str, ...] = GCM
    udp: bool = False

    def batch(self) -> str:
        """For ``ip -batch``: an association of each server's, the peer's own, and its policies."""
        half = len(self.keys) // 2
        lines = [
            self._state(self.router, self.address, self.spi << 16 | server << 8, _salted(self.keys[:half], server))
            for server in range(self.servers)
        ]
        lines.append(self._state(self.address, self.router, self.spi << 16, self.keys[half:]))
        to, back = (f"tmpl src {a} dst {b} proto esp mode tunnel" for a, b in self._ends())
        lines.append(f"xfrm policy add src {self.inside} dst {self.outside} dir out {to}")
        lines += [f"xfrm policy add src {self.outside} dst {self.inside} dir {way} {back}" for way in ("in", "fwd")]
        return "".join(f"{line}\n" for line in lines)

    def _ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (self.address, self.router), (self.router, self.address)

    def _state(self, source: str, destination: str, spi: int, keys: tuple[str, ...]) -> str:
        if len(keys) == 1:
            words = f"aead rfc4106(gcm(aes)) 0x{keys[0]} 128"
        else:
            words = f"enc cbc(aes) 0x{keys[0]} auth-trunc hmac(sha256) 0x{keys[1]} 128"
        ends = f"src {source} dst {destination} proto esp spi {spi:#x} mode tunnel"
        more = " encap espinudp 4500 4500 0.0.0.0" if self.udp else ""
        return f"xfrm state add {ends} replay-window 1024 flag esn {words}{more}"


def _salted(keys: tuple[str, ...], server: int) -> tuple[str, ...]:
    """The last octet of AES-GCM's salt differs by the server's number."""
    if len(keys) != 1:
        return keys
    return (keys[0][:-2] + f"{int(keys[0][-2:], 16) ^ server:02x}",)
