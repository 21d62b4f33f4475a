"""The part of node.json about the exporter of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from rbops.node.schema.fields import Fields

__all__ = ["ExporterConfig"]


@dataclass(frozen=True, slots=True)
class ExporterConfig:
    """TCP ``port`` on the server's addresses in ``network``; None: on those by which the server is managed."""

    port: int
    network: str | None = None

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"port": self.port, **({} if self.network is None else {"network": self.network})}

    @classmethod
    def parse(cls, part: Fields) -> ExporterConfig:
        """FieldError for what is wrong."""
        port, network = part["port"].number(), part.find("network")
        if not 1024 <= port <= 65535:  # noqa: PLR2004 - an unprivileged port
            raise part["port"].error(f"{port} is not a port from 1024 to 65535")
        if network is None:
            return cls(port)
        try:
            return cls(port, str(ip_network(network.text())))
        except ValueError as error:
            raise network.error(str(error)) from error
