"""``/etc/rbops/node.json``: what one server is to be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rbops.common.services import services
from rbops.dataplane import registry
from rbops.errors import UsageError, Where
from rbops.node.schema.dataplane import Dataplane
from rbops.node.schema.exporter import ExporterConfig
from rbops.node.schema.fields import Field, FieldError, Fields
from rbops.node.schema.ipsec import NodeTunnel, TunnelConfig
from rbops.node.schema.kernel import KernelConfig
from rbops.node.schema.nic import MAC
from rbops.node.schema.port import NAME, NodePort
from rbops.node.schema.routing import RoutingDaemon
from rbops.node.schema.sflow import SflowConfig

__all__ = ["HostInterface", "NodeConfig", "RouteTable", "Userspace", "load", "parse"]

_VERSION = 1
SEPARATIONS = ("auto", "vrf", "rules")
_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_SYSCTL = re.compile(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9][A-Za-z0-9_-]*)+")
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The file with every route of the cluster."""

    file: str
    sha256: str
    count: int

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"file": self.file, "sha256": self.sha256, "count": self.count}


@dataclass(frozen=True, slots=True)
class HostInterface:
    """The device between a data plane that has the ports for itself and the kernel; ``addresses`` are the router's."""

    device: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]

    @classmethod
    def parse(cls, host: Fields) -> HostInterface:
        """FieldError for what is wrong."""
        return cls(
            host["device"].text(NAME),
            host["mac"].text(MAC),
            host["mtu"].number(),
            tuple(address.interface() for address in host["addresses"].items()),
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"device": self.device, "mac": self.mac, "mtu": self.mtu, "addresses": list(self.addresses)}


@dataclass(frozen=True, slots=True)
class Userspace:
    """What a program that has devices for itself needs.

    ``hugepages``: size in kB -> pages on each NUMA node with data-plane cores. ``noiommu``: it may have devices on a
    server without an IOMMU.
    """

    hugepages: Mapping[int, int] = field(default_factory=dict)
    noiommu: bool = False

    def to_json(self) -> dict[str, object]:
        """The keys of a server; none where nothing is needed."""
        if self == Userspace():
            return {}
        return {"hugepages": {str(size): count for size, count in self.hugepages.items()}, "noiommu": self.noiommu}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One server; ``index`` is its number in the cluster, ``cores`` are those of its data plane.

    ``separation``: how the management network is kept apart from the router's, ``auto``, ``vrf`` or ``rules``.
    ``services``: what listens on the router's addresses (``rbops.common.services``); None does not limit it.
    ``routing``: the daemon that speaks routing protocols here, if one does. ``exporter``: where metrics are given.
    ``sflow``: who is told of samples. ``ipsec``: the tunnels that its kernel encrypts for.
    ``sysctl``: a part of a key that is a planned port means the device that it is on the server.
    """

    cluster: str
    digest: str
    server: str
    index: int
    cores: tuple[int, ...]
    housekeeping: tuple[int, ...]
    ports: tuple[NodePort, ...]
    userspace: Userspace = field(default_factory=Userspace)
    kernel: KernelConfig = field(default_factory=KernelConfig)
    sysctl: Mapping[str, str]
    routes: RouteTable
    host: HostInterface | None = None
    separation: str = "auto"
    services: tuple[str, ...] | None = None
    routing: RoutingDaemon | None = None
    exporter: ExporterConfig | None = None
    sflow: SflowConfig | None = None
    ipsec: TunnelConfig | None = None
    dataplane: Dataplane

    @property
    def tunnels(self) -> tuple[NodeTunnel, ...]:
        """The tunnels of its kernel."""
        return () if self.ipsec is None else self.ipsec.tunnels

    @property
    def kernel_ports(self) -> tuple[NodePort, ...]:
        """The ports that are network devices of the kernel: those without a userspace driver."""
        return tuple(port for port in self.ports if port.nic.bind is None)

    def to_text(self) -> str:
        """The file: a line for each part and each port, so that people can read and compare it."""
        head = {
            "schema_version": _VERSION,
            "cluster": self.cluster,
            "digest": self.digest,
            "server": self.server,
            "index": self.index,
            "cores": {"dataplane": list(self.cores), "housekeeping": list(self.housekeeping)},
        }
        tail = {
            **self.userspace.to_json(),
            **self.kernel.to_json(),
            "separation": self.separation,
            **({} if self.services is None else {"services": list(self.services)}),
            **({} if self.routing is None else {"routing": self.routing.to_json()}),
            **({} if self.exporter is None else {"exporter": self.exporter.to_json()}),
            **({} if self.sflow is None else {"sflow": self.sflow.to_json()}),
            **({} if self.ipsec is None else {"ipsec": self.ipsec.to_json()}),
            "sysctl": dict(self.sysctl),
            "routes": self.routes.to_json(),
            **({"host": self.host.to_json()} if self.host else {}),
            "dataplane": self.dataplane.to_json(),
        }
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        lines.append(' "ports": [\n' + ",\n".join(f"  {json.dumps(port.to_json())}" for port in self.ports) + "\n ]")
        lines += [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in tail.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def parse(cls, node: Fields) -> NodeConfig:
        """FieldError for what is wrong."""
        ports = tuple(NodePort.parse(port.fields()) for port in node["ports"].items())
        names = [port.name for port in ports]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise node["ports"].error(f"port {twice[0]} appears twice")
        cores, routes, host = node["cores"].fields(), node["routes"].fields(), node.find("host")
        separation, listed, daemon = node.find("separation"), node.find("services"), node.find("routing")
        exporter, ipsec, sflow = node.find("exporter"), node.find("ipsec"), node.find("sflow")
        return cls(
            cluster=node["cluster"].text(),
            digest=node["digest"].text(),
            server=node["server"].text(_SERVER),
            index=node["index"].number(),
            cores=cores["dataplane"].numbers(),
            housekeeping=cores["housekeeping"].numbers(),
            ports=ports,
            userspace=_userspace(node),
            kernel=KernelConfig.parse(node.find("kernel")),
            sysctl={key: _line(value) for key, value in node["sysctl"].fields().keys(_SYSCTL)},
            routes=RouteTable(routes["file"].text(), routes["sha256"].text(), routes["count"].number()),
            host=None if host is None else HostInterface.parse(host.fields()),
            separation="auto" if separation is None else separation.choice(*SEPARATIONS),
            services=None if listed is None else tuple(_service(word) for word in listed.items()),
            routing=None if daemon is None else RoutingDaemon.parse(daemon.fields()),
            exporter=None if exporter is None else ExporterConfig.parse(exporter.fields()),
            sflow=None if sflow is None else SflowConfig.parse(sflow.fields()),
            ipsec=None if ipsec is None else TunnelConfig.parse(ipsec.fields()),
            dataplane=registry.node_half(node["dataplane"].fields()["kind"].text()).parse(node["dataplane"].fields()),
        )


def load(path: Path) -> NodeConfig:
    """Read and check a node.json; UsageError (2) naming file and field when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(
            "the file does not exist",
            code="node.no-config",
            where=Where(file=str(path)),
            hint="`rbops apply` installs it",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(str(error), code="node.config-unreadable", where=Where(file=str(path))) from error
    return parse(text, path)


def parse(text: str, path: Path) -> NodeConfig:
    """Check the text of a node.json; UsageError (2) naming the field that is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid JSON: {error}", code="node.config-json", where=Where(file=str(path))) from error
    if not isinstance(data, dict) or data.get("schema_version") != _VERSION:
        raise UsageError(
            f"schema_version is not {_VERSION}",
            code="node.config-version",
            where=Where(file=str(path), field="schema_version"),
            hint="this rbops-node is older than the rbops that rendered it",
        )
    try:
        return NodeConfig.parse(Fields("", data))
    except FieldError as error:
        raise UsageError(
            error.message, code="node.config-field", where=Where(file=str(path), field=error.place)
        ) from error


def _userspace(node: Fields) -> Userspace:
    pages = node.find("hugepages")
    sizes = {} if pages is None else {int(size): count.number() for size, count in pages.fields().keys(_NUMBER)}
    return Userspace(sizes, node.flag("noiommu", default=False))


def _service(value: Field) -> str:
    """A word that is one: it becomes a part of what nft reads."""
    text = value.text()
    try:
        services(text)
    except ValueError as error:
        raise value.error(str(error)) from error
    return text


def _line(value: Field) -> str:
    """One line of text: more would be further settings."""
    text = value.text()
    if not text or any(not char.isprintable() for char in text):
        raise value.error(f"{text!r} is not one line of text")
    return text
