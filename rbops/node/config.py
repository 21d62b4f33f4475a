"""``/etc/rbops/node.json``: what one server is to be, read and checked."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rbops.errors import UsageError
from rbops.node import kernel

__all__ = ["HostInterface", "Neighbor", "NodeConfig", "NodePort", "Queue", "RouteTable", "Rule", "load", "parse"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_FEATURE = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_KEY = re.compile(r"symmetric|[0-9a-f]{2}(?::[0-9a-f]{2}){7,255}")
_BIND = re.compile(r"vfio-pci|uio_pci_generic")
_SYSCTL = re.compile(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9][A-Za-z0-9_-]*)+")


@dataclass(frozen=True, slots=True)
class Queue:
    """A receive and transmit queue and the CPU that touches each."""

    index: int
    rx_core: int
    tx_core: int


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A neighbour on an external port; ``mac`` None: the kernel resolves it."""

    index: int
    address: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """Frames for destination ``mac`` go to receive queue ``queue`` (ethtool -N)."""

    mac: str
    queue: int


@dataclass(frozen=True, slots=True)
class NodePort:
    """A planned port; None means that the plan says nothing about the setting.

    ``ring_fit``: rings larger than the device's are cut. ``rss`` is over how many queues frames are spread,
    ``rss_key`` ``symmetric`` or bytes. ``steering_fallback``: the data plane may dispatch instead of the NIC.
    ``bind``: the driver that hands the device to a program, which then is no network device any more.
    ``closed``: a program reads the device's frames, and the kernel shall not.
    """

    name: str
    kind: Literal["external", "internal"]
    select: tuple[str, str]
    driver: str
    mtu: int
    promiscuous: bool
    arp: bool
    queues: tuple[Queue, ...]
    id: int | None = None
    peer_server: int | None = None
    addresses: tuple[str, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    ring: Mapping[str, int] | None = None
    ring_fit: bool = True
    coalesce: Mapping[str, int | bool] | None = None
    offloads: Mapping[str, bool] = field(default_factory=dict)
    rss: int | None = None
    rss_key: str | None = None
    steering: tuple[Rule, ...] = ()
    steering_fallback: bool = True
    threaded_napi: bool | None = None
    napi: Mapping[str, int] | None = None
    bind: str | None = None
    closed: bool = False

    @property
    def subject(self) -> str:
        """How differences name the port."""
        return f"port {self.name}"


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The file with every route of the cluster."""

    file: str
    sha256: str
    count: int


@dataclass(frozen=True, slots=True)
class HostInterface:
    """The device between a data plane that has the ports for itself and the kernel; ``addresses`` are the router's."""

    device: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One server; ``hugepages``: size in kB -> pages on each NUMA node with data-plane cores."""

    path: Path
    text: str
    cluster: str
    digest: str
    server: str
    cores: tuple[int, ...]
    ports: tuple[NodePort, ...]
    sysctl: Mapping[str, str]
    routes: RouteTable
    dataplane: Mapping[str, Any]
    kernel: kernel.KernelConfig = field(default_factory=kernel.KernelConfig)
    hugepages: Mapping[int, int] = field(default_factory=dict)
    noiommu: bool = False
    host: HostInterface | None = None

    @property
    def kernel_ports(self) -> tuple[NodePort, ...]:
        """The ports that are network devices of the kernel: those that are not handed to a program."""
        return tuple(port for port in self.ports if port.bind is None)

    @property
    def next_hop(self) -> dict[int, str]:
        """Server index -> the own internal port of the direct way to it."""
        return {int(server): str(port) for server, port in self.dataplane["next_hop"].items()}


def load(path: Path) -> NodeConfig:
    """Read and check a node.json; UsageError (2) naming file and field when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there", hint="`rbops apply` puts it here") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> NodeConfig:
    """Check the text of a node.json; UsageError (2) naming the field that is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema_version") != 1:
        raise UsageError(f"{path}: schema_version must be 1", hint="this rbops-node is older than what rendered it")
    try:
        return _config(data, text, path)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        detail = f"missing field {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path}: {detail}") from error


def _config(data: Mapping[str, Any], text: str, path: Path) -> NodeConfig:
    ports = tuple(_port(port) for port in data["ports"])
    names = [port.name for port in ports]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"port {twice[0]} appears twice")
    routes = data["routes"]
    return NodeConfig(
        path=path,
        text=text,
        cluster=str(data["cluster"]),
        digest=str(data["digest"]),
        server=_matching(_SERVER, data["server"], "server"),
        cores=tuple(int(core) for core in data["cores"]["dataplane"]),
        ports=ports,
        sysctl=_sysctl(data["sysctl"]),
        routes=RouteTable(str(routes["file"]), str(routes["sha256"]), int(routes["count"])),
        dataplane=dict(data["dataplane"]),
        noiommu=bool(data.get("noiommu", False)),
        host=_host(data["host"]) if data.get("host") else None,
        hugepages={int(size): int(count) for size, count in (data.get("hugepages") or {}).items()},
        kernel=kernel.parse(data.get("kernel", {})),
    )


def _host(data: Mapping[str, Any]) -> HostInterface:
    return HostInterface(
        _matching(_NAME, data["device"], "device name"),
        _matching(_MAC, data["mac"], "mac"),
        int(data["mtu"]),
        tuple(str(ipaddress.IPv4Interface(address)) for address in data["addresses"]),
    )


def _port(data: Mapping[str, Any]) -> NodePort:
    name = _matching(_NAME, data["name"], "port name")
    if data["kind"] not in ("external", "internal"):
        raise ValueError(f"port {name}: kind {data['kind']!r}")
    queues = tuple(Queue(int(q["index"]), int(q["rx_core"]), int(q["tx_core"])) for q in data["queues"])
    if [queue.index for queue in queues] != list(range(len(queues))) or not queues:
        raise ValueError(f"port {name}: queues must count from 0 without gaps")
    select = _select(data["select"], name)
    bind = _optional(_BIND, data.get("bind"), "bind")
    if bind and select[0] != "pci":
        raise ValueError(f"port {name}: a device for {bind} has no name or MAC: select it by PCI address")
    return NodePort(
        name=name,
        kind=data["kind"],
        select=select,
        driver=str(data["driver"]),
        mtu=int(data["mtu"]),
        promiscuous=bool(data["promiscuous"]),
        arp=bool(data["arp"]),
        queues=queues,
        id=data.get("id"),
        peer_server=data.get("peer_server"),
        addresses=tuple(str(ipaddress.IPv4Interface(address)) for address in data["addresses"]),
        neighbors=tuple(_neighbor(neighbor) for neighbor in data["neighbors"]),
        ring=_numbers(data.get("ring")),
        ring_fit=bool(data.get("ring_fit", True)),
        coalesce=_numbers(data.get("coalesce")),
        offloads={_matching(_FEATURE, key, "offload"): bool(on) for key, on in data["offloads"].items()},
        rss=data.get("rss"),
        rss_key=_optional(_KEY, data.get("rss_key"), "rss_key"),
        steering=tuple(Rule(_matching(_MAC, r["mac"], "mac"), int(r["queue"])) for r in data.get("steering", ())),
        steering_fallback=bool(data.get("steering_fallback", True)),
        threaded_napi=data.get("threaded_napi"),
        napi=_numbers(data.get("napi")),
        bind=bind,
        closed=bool(data.get("closed", False)),
    )


def _select(data: Mapping[str, str], name: str) -> tuple[str, str]:
    if len(data) != 1:
        raise ValueError(f"port {name}: select by exactly one of name, pci, mac")
    ((kind, value),) = data.items()
    if kind not in ("name", "pci", "mac"):
        raise ValueError(f"port {name}: select by {kind!r}")
    return kind, _matching(_NAME, value, "device name") if kind == "name" else str(value).lower()


def _neighbor(data: Mapping[str, Any]) -> Neighbor:
    mac = data.get("mac")
    return Neighbor(
        int(data["index"]),
        str(ipaddress.IPv4Address(data["address"])),
        None if mac is None else _matching(_MAC, str(mac).lower(), "mac"),
    )


def _numbers(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if data is None:
        return None
    for key, value in data.items():
        if not isinstance(value, int):
            raise TypeError(f"{key}: {value!r} is not a number")
    return dict(data)


def _sysctl(data: Mapping[str, Any]) -> dict[str, str]:
    values = {}
    for key, value in data.items():
        _matching(_SYSCTL, key, "sysctl")
        if not isinstance(value, str) or not value or any(not char.isprintable() for char in value):
            raise ValueError(f"sysctl {key}: {value!r} is not one line of text")
        values[key] = value
    return values


def _optional(pattern: re.Pattern[str], value: object, what: str) -> str | None:
    return None if value is None else _matching(pattern, value, what)


def _matching(pattern: re.Pattern[str], value: object, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{what} {value!r} is not allowed")
    return value
