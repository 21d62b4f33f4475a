"""Click's counts in the form that ``rbops-node counters`` prints, by the names that the XDP data plane has too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rbops.dataplane.click.config import ClickConfig
from rbops.dataplane.click.control import Control
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.guard import PUNTED

__all__ = ["read_counters"]

# CheckIPHeader's drop_details, line by line as its documentation orders them, by our reasons.
_HEADER = {
    "tiny packet": "short",
    "bad IP version": "version",
    "bad IP header length": "header_length",
    "bad IP length": "total_length",
    "bad IP checksum": "checksum",
    "bad source address": "martian_source",
}


_FORWARDED = ("local", "direct", "phase1", "phase2", "egress")


@dataclass(slots=True)
class _Core:
    """One core's counts; ``ports``: name -> rx packets, rx bytes, tx packets, tx bytes."""

    forwarded: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FORWARDED, 0))
    punted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PUNTED, 0))
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(shape.DROPPED, 0))
    received: dict[str, int] = field(default_factory=lambda: {"external": 0, "internal": 0})
    ports: dict[str, list[int]] = field(default_factory=dict)
    paths: dict[tuple[int, int | None], list[int]] = field(default_factory=dict)


def read_counters(config: ClickConfig, control: Control) -> dict[str, Any]:
    """All counters since Click started, as ``rbops.dataplane.xdp.counters``."""
    cores: dict[str, dict[str, Any]] = {}
    names = [port.name for port in config.fabric.ports]
    ports = {name: [0, 0, 0, 0] for name in names}
    paths: dict[tuple[int, int | None], list[int]] = {}
    for number, cpu in enumerate(config.fabric.cores):
        core = _core(config, control, number)
        for name, counts in core.ports.items():
            ports[name] = [before + count for before, count in zip(ports[name], counts, strict=True)]
        for path, counts in core.paths.items():
            paths[path] = [before + count for before, count in zip(paths.get(path, [0, 0]), counts, strict=True)]
        cores[str(cpu)] = {
            "received": core.received,
            "forwarded": core.forwarded,
            "punted": core.punted,
            "dropped": core.dropped,
            "bytes": sum(counts[3] for counts in core.ports.values()),
        }
    fields = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
    return {
        "cores": cores,
        "total": _total(list(cores.values())),
        "paths": [
            {"to": to, "via": via, "packets": packets, "bytes": size}
            for (to, via), (packets, size) in sorted(paths.items(), key=lambda item: (item[0][0], item[0][1] or -1))
        ],
        "ports": {name: dict(zip(fields, ports[name], strict=True)) for name in names},
    }


def _core(config: ClickConfig, control: Control, number: int) -> _Core:
    core, at = _Core(), f"_c{number}"

    def count(element: str) -> int:
        return int(control.read(f"{element}.count"))

    for port in config.fabric.ports:
        name = port.name
        polled = config.fabric.cores[number] in config.queues[name]
        rx = [count(f"rx_{name}{at}"), int(control.read(f"rx_{name}{at}.byte_count"))] if polled else [0, 0]
        core.ports[name] = [*rx, count(f"tx_{name}{at}"), int(control.read(f"tx_{name}{at}.byte_count"))]
        core.received[port.kind] += rx[0]
        if port.kind == "external":
            core.forwarded["local"] += count(f"local_{name}{at}")
            if polled:
                core.dropped["other_host"] += count(f"other_host_{name}{at}")
                core.dropped["martian_source"] += count(f"check_{name}{at}/source")
                core.punted["arp"] += count(f"arp_asked_{name}{at}") + count(f"arp_told_{name}{at}")
                core.punted["other_protocol"] += count(f"other_{name}{at}")
                _header(control.read(f"check_{name}{at}/header.drop_details"), core)
    core.punted["local_delivery"] = count(f"to_host{at}")
    core.punted["no_route"] = count(f"no_route{at}")
    core.punted["ttl"] = count(f"expired{at}")
    core.punted["too_big"] = count(f"too_big{at}")
    core.punted["options"] = count(f"option{at}")
    core.dropped["martian_destination"] = count(f"no_host{at}")
    if config.fabric.next_hop:
        _vlb(control.read(f"vlb{at}.counters"), core)
        _mac(control.read(f"mac{at}.counters"), core)
    return core


def _header(text: str, core: _Core) -> None:
    """Lines ``12 bad IP checksum``."""
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and words[1] in _HEADER:  # noqa: PLR2004 - number and reason
            core.dropped[_HEADER[words[1]]] += int(words[0])


def _vlb(text: str, core: _Core) -> None:
    """See DirectVLB's documentation; phase 1 over a server that is no intermediate any more has no ``via``."""
    for line in text.splitlines():
        kind, *words = line.split()
        if kind in ("no_path", "no_port", "short"):
            core.dropped[kind] += int(words[0])
        elif kind == "direct":
            core.paths[int(words[0]), None] = [int(words[1]), int(words[2])]
            core.forwarded["direct"] += int(words[1])
        elif kind == "phase1":
            if words[1] != "-":
                core.paths[int(words[0]), int(words[1])] = [int(words[2]), int(words[3])]
            core.forwarded["phase1"] += int(words[2])
        elif kind == "phase2":
            core.forwarded["phase2"] += int(words[1])


def _mac(text: str, core: _Core) -> None:
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "egress":
            core.forwarded["egress"] += int(words[0])
        elif kind in ("short", "no_port", "no_adjacency"):
            core.dropped[kind] += int(words[0])
        elif kind in ("unresolved", "too_big", "not_fabric"):
            core.punted[kind] += int(words[0])


def _total(cores: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum over cores of each number in the same place."""
    if not cores:
        return {}
    return {
        key: sum(core[key] for core in cores) if isinstance(value, int) else _total([core[key] for core in cores])
        for key, value in cores[0].items()
    }
