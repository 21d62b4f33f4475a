"""The daemons' files: configuration and unit of the routing daemon that is planned, and where all have theirs."""

from __future__ import annotations

from rbops.common.daemons import PROGRAMS
from rbops.plan import ClusterPlan, Server
from rbops.render.bird import bird_files
from rbops.render.files import File
from rbops.render.frr import frr_files
from rbops.render.speaking import program, speaking
from rbops.render.templates import template

__all__ = ["PLACES", "daemon_files"]

PLACES = tuple(place for kind in PROGRAMS.values() for place in kind.places)
"""Where their files are on servers: planned, or they go."""

_FILES = {"bird": bird_files, "frr": frr_files}


def daemon_files(plan: ClusterPlan, server: Server, digest: str) -> tuple[File, ...]:
    """Nothing on a server without external ports, or where no daemon is planned."""
    here, kind = speaking(plan, server), program(plan, server)
    if here is None or kind is None:
        return ()
    unit = template(f"systemd/{kind.unit}", cluster=plan.name, digest=digest)
    return *_FILES[kind.name](here, digest), File(f"/etc/systemd/system/{kind.unit}", unit)
