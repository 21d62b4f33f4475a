"""node.json has a type: rendered from these values, and checked when it is read. Standard library only."""

from rbops.node.schema.config import HostInterface, NodeConfig, RouteTable, Userspace, load, parse
from rbops.node.schema.dataplane import Adjacency, Dataplane, Fabric, FabricPort, PlannedFile
from rbops.node.schema.exporter import ExporterConfig
from rbops.node.schema.kernel import KernelConfig
from rbops.node.schema.nic import Rule
from rbops.node.schema.port import Neighbor, NodePort, Queue
from rbops.node.schema.routing import RoutingDaemon, Session
from rbops.node.schema.sflow import SflowConfig

__all__ = [
    "Adjacency",
    "Dataplane",
    "ExporterConfig",
    "Fabric",
    "FabricPort",
    "HostInterface",
    "KernelConfig",
    "Neighbor",
    "NodeConfig",
    "NodePort",
    "PlannedFile",
    "Queue",
    "RouteTable",
    "RoutingDaemon",
    "Rule",
    "Session",
    "SflowConfig",
    "Userspace",
    "load",
    "parse",
]
