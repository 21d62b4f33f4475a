"""The part of node.json for sFlow: the collector, the sampling rate, the polling interval."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from rbops.common.limits import MAX_SAMPLING
from rbops.node.schema.fields import Fields

__all__ = ["SflowConfig"]


@dataclass(frozen=True, slots=True)
class SflowConfig:
    """sFlow to UDP ``port`` of ``collector``: one frame in ``sampling``, counters every ``polling_s`` seconds.

    ``network``: the server's address in it is the agent's; None: that by which it is managed.
    """

    collector: str
    port: int
    sampling: int
    polling_s: float
    network: str | None = None

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "collector": self.collector,
            "port": self.port,
            "sampling": self.sampling,
            "polling_s": self.polling_s,
            **({} if self.network is None else {"network": self.network}),
        }

    @classmethod
    def parse(cls, part: Fields) -> SflowConfig:
        """FieldError for what is wrong."""
        port, sampling, network = part["port"].number(), part["sampling"].number(), part.find("network")
        if not 1 <= port <= 65535:  # noqa: PLR2004 - UDP
            raise part["port"].error(f"{port} is not a UDP port")
        if not 1 <= sampling <= MAX_SAMPLING:
            raise part["sampling"].error(f"{sampling} is not a number from 1 to {MAX_SAMPLING}")
        collector = part["collector"]
        try:
            address = str(ip_address(collector.text()))
        except ValueError as error:
            raise collector.error(str(error)) from error
        try:
            within = None if network is None else str(ip_network(network.text()))
        except ValueError as error:
            raise part["network"].error(str(error)) from error
        return cls(address, port, sampling, part["polling_s"].decimal(), within)
