"""Where a self-test ran: versions, kernels, devices and their drivers; a result is read far from its rack."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Context", "PortContext", "ServerContext"]


@dataclass(frozen=True, slots=True)
class PortContext:
    """A planned port's device; ``firmware`` None: the driver names none."""

    port: str
    device: str
    driver: str
    firmware: str | None


@dataclass(frozen=True, slots=True)
class ServerContext:
    """A server as its kernel describes it; ``virtualisation`` is systemd-detect-virt's word, ``none`` on iron."""

    server: str
    kernel: str
    processor: str | None
    virtualisation: str | None
    ports: tuple[PortContext, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """``started`` is ISO 8601 in UTC, ``command`` what was typed; ``lab``: cables or devices are not hardware."""

    version: str
    started: str
    command: str
    lab: bool
    servers: tuple[ServerContext, ...]

    def to_dict(self) -> dict[str, Any]:
        """The part ``context`` of the result's JSON."""
        servers = [{**asdict(one), "ports": [asdict(port) for port in one.ports]} for one in self.servers]
        return {**asdict(self), "servers": servers}
