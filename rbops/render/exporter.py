"""The exporter of metrics: its unit, and its part of node.json."""

from __future__ import annotations

from rbops.node.schema import ExporterConfig
from rbops.plan import ClusterPlan, Server
from rbops.render.files import File
from rbops.render.speaking import program
from rbops.render.templates import template

__all__ = ["PLACE", "UNIT", "files", "node_part"]

UNIT = "rbops-exporter.service"
PLACE = f"/etc/systemd/system/{UNIT}"
"""Where its file is on servers: planned, or it goes."""


def files(plan: ClusterPlan, server: Server, digest: str) -> tuple[File, ...]:
    """The unit, where the plan has an exporter."""
    if plan.exporter is None:
        return ()
    daemon = program(plan, server)
    groups = "" if daemon is None else " ".join(daemon.groups)
    values = {"cluster": plan.name, "digest": digest, "port": plan.exporter.port, "groups": groups}
    return (File(PLACE, template(f"systemd/{UNIT}", **values)),)


def node_part(plan: ClusterPlan) -> ExporterConfig | None:
    """What rbops-node has to know."""
    return None if plan.exporter is None else ExporterConfig(plan.exporter.port, plan.exporter.network)
