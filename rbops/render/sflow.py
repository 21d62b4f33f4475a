"""The sender of samples (sFlow): its unit, and its part of node.json."""

from __future__ import annotations

from rbops.node.schema import SflowConfig
from rbops.plan import ClusterPlan
from rbops.render.files import File
from rbops.render.templates import template

__all__ = ["PLACE", "UNIT", "files", "node_part"]

UNIT = "rbops-sflow.service"
PLACE = f"/etc/systemd/system/{UNIT}"
"""Where its file is on servers: planned, or it goes."""


def files(plan: ClusterPlan, digest: str) -> tuple[File, ...]:
    """The unit, where the plan has a collector."""
    if plan.sflow is None:
        return ()
    return (File(PLACE, template(f"systemd/{UNIT}", cluster=plan.name, digest=digest)),)


def node_part(plan: ClusterPlan) -> SflowConfig | None:
    """What rbops-node has to know."""
    wanted = plan.sflow
    if wanted is None:
        return None
    return SflowConfig(wanted.collector, wanted.port, wanted.sampling, wanted.polling_s, wanted.network)
