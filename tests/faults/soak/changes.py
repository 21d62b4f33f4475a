"""Random specs of one lab of two servers, each one change away from the one before."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import yaml

__all__ = ["BASE", "changed", "text"]

Spec = dict[str, Any]

BASE: Spec = {
    "name": "rbftest",
    "router": {"external_ports": 2, "line_rate": "1Gbps"},
    "servers": {"profile": "lab"},
    "routes": [{"prefix": "203.0.113.0/24", "via": "198.18.1.2"}],
}
"""What a soak begins with."""

_SERVICES = ["ssh", "bgp", "bfd", "snmp", "ntp"]
# Not ARP, nor what neighbours are found by: without them the stream would end.
_REASONS = ["ttl", "no_route", "options", "multicast", "ipv6"]


def _routes(dice: random.Random, spec: Spec) -> None:
    count = dice.choice([0, 1, 5, 300])
    vias = ("198.18.0.2", "198.18.1.2")
    spec["routes"] = [
        {"prefix": f"100.{64 + at // 256}.{at % 256}.0/24", "via": dice.choice(vias)} for at in range(count)
    ]


def _punts(dice: random.Random, spec: Spec) -> None:
    chosen = dice.sample(_REASONS, dice.randint(1, 3))
    spec["punts"] = {reason: dice.choice([0, 50, 1000, 20000]) for reason in chosen}


def _services(dice: random.Random, spec: Spec) -> None:
    spec["router"]["services"] = dice.sample(_SERVICES, dice.randint(0, 3))


def _sysctl(dice: random.Random, spec: Spec) -> None:
    names = ["net.ipv4.conf.ext0.log_martians", "net.ipv4.conf.ext1.log_martians", "net.ipv4.ip_default_ttl"]
    values = {name: dice.choice([0, 1]) if name.endswith("martians") else dice.choice([63, 65]) for name in names}
    spec["kernel"] = {"sysctl": {name: values[name] for name in dice.sample(names, dice.randint(0, 3))}}


def _flowlets(dice: random.Random, spec: Spec) -> None:
    spec["interconnect"] = {"flowlet_timeout": dice.choice(["50ms", "100ms", "200ms"])}


def _routing(dice: random.Random, spec: Spec) -> None:
    spec.setdefault("interconnect", {})["routing"] = dice.choice(["direct-vlb", "vlb"])


def _batching(dice: random.Random, spec: Spec) -> None:
    spec["batching"] = {"rx_burst": dice.choice([16, 32, 64]), "timeout": dice.choice(["50us", "100us", "200us"])}


def _offloads(dice: random.Random, spec: Spec) -> None:
    spec["nic"] = {"offloads": {"tso": dice.choice([True, False]), "gso": dice.choice([True, False])}}


def _application(dice: random.Random, spec: Spec) -> None:
    spec["router"]["application"] = dice.choice(["route", "forward"])


def _sources(dice: random.Random, spec: Spec) -> None:
    spec["router"]["urpf"] = dice.choice(["off", "loose", "strict"])


_KINDS: tuple[Callable[[random.Random, Spec], None], ...] = (
    _routes, _routes, _punts, _services, _sysctl, _flowlets, _routing, _batching, _offloads, _application, _sources,
)  # fmt: skip


def changed(dice: random.Random, spec: Spec) -> tuple[str, Spec]:
    """What was changed, and the spec with it."""
    kind = dice.choice(_KINDS)
    new = copy.deepcopy(spec)
    kind(dice, new)
    return kind.__name__.removeprefix("_"), new


def text(spec: Spec) -> str:
    """The file."""
    return yaml.safe_dump(spec, sort_keys=False)
