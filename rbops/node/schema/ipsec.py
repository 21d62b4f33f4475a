"""What node.json says of the tunnels that this server's kernel encrypts and decrypts for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from rbops.node.schema.fields import Field, Fields

__all__ = ["CIPHERS", "NodeIke", "NodeTunnel", "TunnelConfig", "tunnel_device"]

_HIGHEST = 0xFFFFFFFF
_MOST = {"number": 65535, "salt": 255, "replay_window": 4096}

CIPHERS: dict[str, tuple[str, int]] = {
    "aes128gcm16": ("rfc4106(gcm(aes))", 1),
    "aes256gcm16": ("rfc4106(gcm(aes))", 1),
    "aes128-sha256": ("cbc(aes)", 2),
}
"""The kernel's name of a cipher, and how many words of the key file each direction has."""


def tunnel_device(spi: int) -> str:
    """The interface that leads into a tunnel."""
    return f"rbops-t{spi}"


@dataclass(frozen=True, slots=True)
class NodeIke:
    """A tunnel's keys by IKE. ``secret`` is the file on the machine that installs, the ids are what both ends say.

    ``port``: the external port with the tunnel's address, whose server encrypts for all.
    """

    secret: str
    local_id: str
    peer_id: str
    port: int

    @classmethod
    def parse(cls, fields: Fields) -> NodeIke:
        """FieldError for what is wrong."""
        secret, local_id, peer_id = (fields[key].text() for key in ("secret", "local_id", "peer_id"))
        return cls(secret, local_id, peer_id, fields["port"].number())

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"secret": self.secret, "local_id": self.local_id, "peer_id": self.peer_id, "port": self.port}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTunnel:
    """One tunnel; ``number`` is also its interface's and that of all its states and policies.

    ``local`` is the router's address that ``peer`` knows, ``own``: whether it is this server's, where what the peer
    sends is decrypted. ``spi_out`` is this server's; ``salt`` is what its nonces differ by from those of other servers.
    ``keys`` is the file on the machine that installs. ``udp``: ESP in UDP, port 4500 at both ends (RFC 3948).
    ``ike``: where the keys are negotiated, by the server whose ``own`` it is, which alone encrypts then.
    """

    number: int
    local: str
    peer: str
    own: bool
    prefixes: tuple[str, ...]
    sources: tuple[str, ...]
    cipher: str
    spi_out: int
    spi_in: int
    salt: int
    replay_window: int
    esn: bool
    keys: str
    udp: bool = False
    ike: NodeIke | None = None

    @property
    def encrypts(self) -> bool:
        """Whether this server does; where not, it sends what is for the tunnel to the one that does."""
        return self.own or self.ike is None

    @property
    def device(self) -> str:
        """Its interface."""
        return tunnel_device(self.number)

    @classmethod
    def parse(cls, fields: Fields) -> NodeTunnel:
        """FieldError for what is wrong."""
        local, peer = (fields[key].address() for key in ("local", "peer"))
        numbers = {key: fields[key].number() for key in ("number", "spi_out", "spi_in", "salt", "replay_window")}
        for key, value in numbers.items():
            if not 0 <= value <= _MOST.get(key, _HIGHEST):
                raise fields[key].error(f"{value} is not from 0 to {_MOST.get(key, _HIGHEST)}")
        prefixes, sources = (tuple(_network(field) for field in fields[key].items()) for key in ("prefixes", "sources"))
        cipher = fields["cipher"].choice(*CIPHERS)
        return cls(
            **numbers,
            local=local,
            peer=peer,
            own=fields["own"].flag(),
            prefixes=prefixes,
            sources=sources,
            cipher=cipher,
            esn=fields["esn"].flag(),
            keys=fields["keys"].text(),
            # Configurations of earlier versions, which a rollback reads, do not say it.
            udp=fields.flag("udp", default=False),
            ike=None if (ike := fields.find("ike")) is None else NodeIke.parse(ike.fields()),
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "number": self.number,
            "local": self.local,
            "peer": self.peer,
            "own": self.own,
            "prefixes": list(self.prefixes),
            "sources": list(self.sources),
            "cipher": self.cipher,
            "spi_out": self.spi_out,
            "spi_in": self.spi_in,
            "salt": self.salt,
            "replay_window": self.replay_window,
            "esn": self.esn,
            "keys": self.keys,
            "udp": self.udp,
            **({} if self.ike is None else {"ike": self.ike.to_json()}),
        }


def _network(field: Field) -> str:
    """An IPv4 network without bits beyond its length."""
    try:
        return str(IPv4Network(field.text()))
    except ValueError as error:
        raise field.error(str(error)) from error


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """The tunnels, and the file on this server with their static keys: a line each, in their order."""

    file: str
    tunnels: tuple[NodeTunnel, ...]

    @property
    def static(self) -> tuple[NodeTunnel, ...]:
        """Those with keys in the file."""
        return tuple(tunnel for tunnel in self.tunnels if tunnel.ike is None)

    @property
    def negotiated(self) -> tuple[NodeTunnel, ...]:
        """Those whose keys this server negotiates."""
        return tuple(tunnel for tunnel in self.tunnels if tunnel.ike is not None and tunnel.own)

    @classmethod
    def parse(cls, fields: Fields) -> TunnelConfig:
        """FieldError for what is wrong."""
        tunnels = tuple(NodeTunnel.parse(each.fields()) for each in fields["tunnels"].items())
        numbers = [tunnel.number for tunnel in tunnels]
        if len(set(numbers)) < len(numbers):
            raise fields["tunnels"].error("two tunnels have the same number")
        return cls(fields["file"].text(), tunnels)

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"file": self.file, "tunnels": [tunnel.to_json() for tunnel in self.tunnels]}
