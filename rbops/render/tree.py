"""Every file of a plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

import rbops
from rbops.common.daemons import PROGRAMS
from rbops.dataplane import registry
from rbops.errors import UsageError
from rbops.node.schema import RouteTable
from rbops.plan import ClusterPlan, Server
from rbops.render import exporter, sflow
from rbops.render.daemons import PLACES, daemon_files
from rbops.render.files import File, Rendered
from rbops.render.ike import ike_files
from rbops.render.inventory import inventory
from rbops.render.ipsec import static_tunnels
from rbops.render.names import check_names
from rbops.render.node import cluster, server_files
from rbops.render.program import node_program
from rbops.render.routes import table
from rbops.render.templates import template
from rbops.resources import shared

__all__ = ["places", "render", "unplanned"]

_ROUTES, _PROGRAM = "/etc/rbops/routes.csv", "/usr/sbin/rbops-node"
_UNITS = ("rbops.service", "rbops-watch.service")
_START_TIMEOUT_S = 600
_FORKS = 32
_PLAYBOOK = "site.yml"
_CONDITION = re.compile(r"'/common/([^']+)'\) is file")


def render(plan: ClusterPlan) -> Rendered:
    """The files of every server and of the output folder. Touches nothing; reads what rbops ships.

    Raises UsageError (2) for what cannot be rendered: names that are more than names, what the data plane cannot do,
    a route file that changed since it was planned.
    """
    check_names(plan)
    digest = plan.digest
    routes = table(plan)
    plane = registry.controller(plan.forwarding.dataplane)
    if plan.forwarding.application not in plane.applications:
        raise UsageError(
            f"the {plane.kind} data plane has no {plan.forwarding.application}",
            code="render.application",
            hint="write `dataplane: click`",
        )
    rendering = plane.render(plan, digest, routes)
    listed = File(_ROUTES, routes.csv)
    common = (*rendering.common, listed, File(_PROGRAM, node_program(), 0o755))
    shared = cluster(plan, digest, RouteTable(_ROUTES, listed.sha256, routes.count), rendering)
    follower = () if plan.routing is None or plane.follower is None else (plane.follower,)
    names = (*_UNITS, *follower)
    units = tuple(File(f"/etc/systemd/system/{unit}", _unit(unit, plan.name, digest)) for unit in names)
    hosts = {}
    for server in plan.servers:
        node, *own = server_files(server, shared)
        hosts[server.name] = (node, *units, *own, *_optional(plan, server, digest))
    shared_names = {PurePosixPath(file.path).name for file in common}
    paths = {file.path for files in hosts.values() for file in files}
    idle = [f"name: {kind.name}," for kind in PROGRAMS.values() if kind.config not in paths]
    idle += [] if static_tunnels(plan) else ["name: xdp, tasks_from: keys,"]
    return Rendered(digest, (*_top(plan), *_shipped(shared_names, idle)), common, hosts)


def _optional(plan: ClusterPlan, server: Server, digest: str) -> tuple[File, ...]:
    """What a server gets that asks for it: a routing daemon, IKE, metrics, samples."""
    return (
        *daemon_files(plan, server, digest),
        *ike_files(plan, server, digest),
        *exporter.files(plan, server, digest),
        *sflow.files(plan, digest),
    )


def unplanned(dataplane: str, planned: Collection[str], found: Iterable[str]) -> list[str]:
    """Those of the files ``found`` on a server that go when a plan with that data plane is applied.

    A data plane's files beside /etc/rbops are planned or go, and all of another one's.
    """
    own = places(dataplane)
    return sorted(
        path
        for path in found
        if path not in planned and any(path == place or path.startswith(f"{place}/") for place in own)
    )


def places(dataplane: str) -> list[str]:
    """Where nothing is on a server but what is planned: files, or folders with all in them."""
    found = [
        *PLACES,
        exporter.PLACE,
        sflow.PLACE,
        *(place for each in registry.controllers() for place in each.places.beside),
    ]
    for each in registry.controllers():
        found += each.places.stale if each.kind == dataplane else each.places.own
    return found


def _unit(unit: str, name: str, digest: str) -> bytes:
    return template(f"systemd/{unit}", cluster=name, digest=digest, start_timeout_s=_START_TIMEOUT_S)


def _top(plan: ClusterPlan) -> tuple[File, ...]:
    return (
        File("plan.json", plan.to_json().encode() + b"\n"),
        File("ansible.cfg", template("ansible/ansible.cfg", forks=_FORKS)),
        File("inventory/hosts.yml", inventory(plan)),
    )


def _shipped(common: Collection[str], idle: Collection[str]) -> Iterator[File]:
    """Playbooks at the top, roles beside them: what `ansible-playbook site.yml` needs without rbops.

    ``common``: the names of the files that all servers share; ``idle``: what names roles without work in this plan.
    """
    for base, prefix in ((shared("playbooks"), ""), (shared("roles"), "roles/")):
        for path in sorted(base.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                if path.name == _PLAYBOOK:
                    content = _without_idle_roles(content.decode(), common, idle)
                yield File(f"{prefix}{path.relative_to(base).as_posix()}", content, _mode(path))
    # The role's module runs where nothing of rbops is installed.
    build = Path(rbops.__file__).parent / "dataplane" / "click" / "controller" / "build.py"
    yield File("roles/click/module_utils/rbops_click_build.py", build.read_bytes())


def _without_idle_roles(playbook: str, common: Collection[str], idle: Collection[str]) -> bytes:
    """Leave out the lines of ``idle`` roles, and of those whose condition, a shared file's presence, is not met.

    Ansible would start a process for each of their tasks and servers to find that.
    """
    lines = playbook.splitlines(keepends=True)
    asked = ((line, _CONDITION.search(line)) for line in lines)
    kept = [line for line, found in asked if not found or found[1] in common]
    return "".join(line for line in kept if not any(role in line for role in idle)).encode()


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644
