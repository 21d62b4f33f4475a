"""BIRD's configuration, for each server with external ports."""

from __future__ import annotations

from rbops.common.daemons import DAEMONS
from rbops.render.files import File
from rbops.render.speaking import Speaking
from rbops.render.templates import template

__all__ = ["CONFIG", "bird_files"]

CONFIG, _OWN = DAEMONS["bird"].config, "/etc/rbops/bird/own.conf"


def bird_files(here: Speaking, digest: str) -> tuple[File, ...]:
    """The configuration."""
    speaks = here.speaks
    common = {"cluster": here.plan.name, "server": here.server.name, "digest": digest}
    ids = {"router_id": here.me.router_id, "address": here.me.address}
    if speaks.own is not None:
        head = template("bird/own.conf", index=here.server.index, **common, **ids)
        return File(CONFIG, head), File(_OWN, speaks.own.encode())
    neighbors = list(here.neighbors())
    text = template(
        "bird/bird.conf",
        **common,
        **ids,
        as_number=speaks.as_number,
        restarts=speaks.graceful_restart,
        paths=speaks.paths,
        announce=here.announced(ipv6=False),
        announce6=here.announced(ipv6=True),
        ipv6=here.ipv6,
        forbidden=here.foreign,
        forbidden6=here.foreign6,
        bfd=any(near["bfd"] for near in neighbors),
        advertises=[near["port"] for near in neighbors if near["any"]],
        bfd_ms=max(1, round(speaks.bfd_interval_s * 1000)),
        mixed=here.is_mixed,
        servers=list(here.servers()),
        neighbors=neighbors,
        ospf=here.areas(),
        ospf6=here.areas(ipv6=True),
        routers=here.ospf_routers(),
    )
    return (File(CONFIG, text),)
