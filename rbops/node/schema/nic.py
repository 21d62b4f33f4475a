"""The part of a port in node.json that says how its device is set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rbops.node.schema.fields import Fields

__all__ = ["MAC", "PortNic", "Rule"]

MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_FEATURE = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_SETTING = re.compile(r"[a-z][a-z_-]*")
_KEY = re.compile(r"symmetric|[0-9a-f]{2}(?::[0-9a-f]{2}){7,255}")
_BIND = re.compile(r"vfio-pci|uio_pci_generic")


@dataclass(frozen=True, slots=True)
class Rule:
    """Frames for destination ``mac`` go to receive queue ``queue`` (ethtool -N)."""

    mac: str
    queue: int

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"mac": self.mac, "queue": self.queue}


@dataclass(frozen=True, slots=True)
class PortNic:
    """How a port's device is set; None means that the plan says nothing about the setting.

    ``ring_fit``: rings larger than the device's are cut. ``rss`` is over how many queues frames are spread,
    ``rss_key`` ``symmetric`` or bytes. ``steering_fallback``: the data plane may dispatch instead of the NIC.
    ``bind``: the driver that hands the device to a program, which then is no network device any more.
    """

    bind: str | None = None
    ring: Mapping[str, int] | None = None
    ring_fit: bool = True
    coalesce: Mapping[str, int | bool] | None = None
    threaded_napi: bool | None = None
    napi: Mapping[str, int] | None = None
    offloads: Mapping[str, bool] = field(default_factory=dict)
    rss_key: str | None = None
    steering_fallback: bool = True
    rss: int | None = None
    steering: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, port: Fields) -> PortNic:
        """Of the fields of a port. FieldError for what is wrong: these become arguments of ethtool."""
        bind, rss, key = port.find("bind"), port.find("rss"), port.find("rss_key")
        threaded, steering = port.find("threaded_napi"), port.find("steering")
        rules = () if steering is None else tuple(entry.fields() for entry in steering.items())
        return cls(
            bind=None if bind is None else bind.text(_BIND),
            ring=_numbers(port, "ring"),
            ring_fit=port.flag("ring_fit", default=True),
            coalesce=_coalesce(port),
            threaded_napi=None if threaded is None else threaded.flag(),
            napi=_numbers(port, "napi"),
            offloads={name: value.flag() for name, value in port["offloads"].fields().keys(_FEATURE)},
            rss_key=None if key is None else key.text(_KEY),
            steering_fallback=port.flag("steering_fallback", default=True),
            rss=None if rss is None else rss.number(),
            steering=tuple(Rule(rule["mac"].text(MAC), rule["queue"].number()) for rule in rules),
        )

    def to_json(self) -> dict[str, object]:
        """The fields of a port."""
        return {
            "bind": self.bind,
            "ring": self.ring,
            "ring_fit": self.ring_fit,
            "coalesce": self.coalesce,
            "threaded_napi": self.threaded_napi,
            "napi": self.napi,
            "offloads": self.offloads,
            "rss_key": self.rss_key,
            "steering_fallback": self.steering_fallback,
            "rss": self.rss,
            "steering": [rule.to_json() for rule in self.steering],
        }


def _numbers(port: Fields, key: str) -> dict[str, int] | None:
    found = port.find(key)
    return None if found is None else {name: value.number() for name, value in found.fields().keys(_SETTING)}


def _coalesce(port: Fields) -> dict[str, int | bool] | None:
    found = port.find("coalesce")
    if found is None:
        return None
    return {
        name: value.flag() if name.startswith("adaptive-") else value.number()
        for name, value in found.fields().keys(_SETTING)
    }
