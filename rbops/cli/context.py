"""What a result says of the place it was measured at, from the facts of the servers."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rbops import __version__
from rbops.discover.cabling import assignments_of
from rbops.nic.drivers import driver as known
from rbops.node.facts import Facts, NicFacts
from rbops.plan import ClusterPlan, Server
from rbops.selftest.context import Context, PortContext, ServerContext

__all__ = ["context_of"]


def context_of(plan: ClusterPlan, facts: Mapping[str, Facts]) -> Context:
    """The context of a run of this command on ``plan``, now; ``facts`` of the servers that answered."""
    servers = tuple(_server(plan, server, facts[server.name]) for server in plan.servers if server.name in facts)
    drivers = {port.driver for server in servers for port in server.ports}
    lab = any(name == "veth" or known(name).paravirtual for name in drivers)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Context(__version__, datetime.now(UTC).isoformat(timespec="seconds"), command, lab, servers)


def _server(plan: ClusterPlan, server: Server, facts: Facts) -> ServerContext:
    nics = {nic.device: nic for nic in facts.nics}
    placed = [(one.port.name, nics[one.end.device]) for one in assignments_of(plan, {server.name: facts}) if one.end]
    ports = tuple(_port(name, nic) for name, nic in placed)
    return ServerContext(server.name, facts.kernel.release, facts.cpu_model, facts.virtualisation, ports)


def _port(name: str, nic: NicFacts) -> PortContext:
    return PortContext(name, nic.device, nic.driver, nic.firmware)
