"""Every file of a plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import rbops
from rbops.dataplane.xdp.fib import compile_fib
from rbops.errors import UsageError
from rbops.node.schema import PlannedFile, RouteTable
from rbops.plan import ClusterPlan
from rbops.render.click import ETC, click_files, element_files, library_file
from rbops.render.files import File, Rendered
from rbops.render.inventory import inventory
from rbops.render.names import check_names
from rbops.render.node import cluster, next_hops, node_json
from rbops.render.program import node_program
from rbops.render.routes import Table, table
from rbops.render.templates import template
from rbops.resources import bpf_object, shared

__all__ = ["PLACES", "render", "unplanned"]

_ETC = "/etc/rbops"
_OBJECT, _FIB, _ROUTES = f"{_ETC}/xdp/router.bpf.o", f"{_ETC}/fib.bin", f"{_ETC}/routes.csv"
_UNITS = ("rbops.service", "rbops-watch.service")
PLACES = {
    "host": (
        "/etc/modprobe.d/zz-rbops-click.conf",
        "/etc/modules-load.d/rbops-click.conf",
        "/etc/systemd/system/rbops-click.service",
    ),
    "click": (f"{_ETC}/click",),
    "xdp": (f"{_ETC}/xdp", _FIB),
}
"""What the roles clean: a data plane's files beside /etc/rbops, which are planned or go, and each one's own places."""
_START_TIMEOUT_S = 600
_FORKS = 32


def render(plan: ClusterPlan) -> Rendered:
    """The files of every server and of the output folder. Touches nothing; reads what rbops ships.

    Raises UsageError (2) for what cannot be rendered: a data plane of another kind, names that are
    more than names, a route file that changed since it was planned.
    """
    check_names(plan)
    digest = plan.digest
    routes = table(plan)
    plane = _xdp(plan, routes) if plan.forwarding.dataplane == "xdp" else _click(plan, routes)
    common = (*plane.common, File(_ROUTES, routes.csv), File("/usr/sbin/rbops-node", node_program(), 0o755))
    sums = {file.path: file.sha256 for file in common}
    said = cluster(
        plan,
        digest,
        RouteTable(_ROUTES, sums[_ROUTES], routes.count),
        {name: PlannedFile(path, sums[path]) for name, path in plane.named.items()},
    )
    units = tuple(File(f"/etc/systemd/system/{unit}", _unit(unit, plan.name, digest)) for unit in _UNITS)
    hosts = {}
    for server in plan.servers:
        own = None
        if plan.forwarding.dataplane == "click":
            own = click_files(plan, digest, server, next_hops(server.index, said))
        node = File(f"{_ETC}/node.json", node_json(server, said, own))
        hosts[server.name] = (node, *units, *(own.files if own else ()))
    return Rendered(digest, (*_top(plan), *_shipped()), common, hosts)


def unplanned(dataplane: str, planned: Collection[str], found: Iterable[str]) -> list[str]:
    """Those of the files ``found`` on a server that go when a plan with that data plane is applied."""
    places = [*PLACES["host"], f"{ETC}/elements"]
    places += (place for kind, own in PLACES.items() if kind not in ("host", dataplane) for place in own)
    return sorted(
        path
        for path in found
        if path not in planned and any(path == place or path.startswith(f"{place}/") for place in places)
    )


@dataclass(frozen=True, slots=True)
class _Plane:
    """What a data plane needs on every server; ``named`` are those that node.json names, by their keys there."""

    common: tuple[File, ...]
    named: dict[str, str]


def _xdp(plan: ClusterPlan, routes: Table) -> _Plane:
    if plan.forwarding.application == "ipsec":
        raise UsageError("the xdp data plane has no ipsec", hint="write `dataplane: click`")
    try:
        program = bpf_object("dataplane/xdp", "router.bpf.o").read_bytes()
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    fib = compile_fib(routes.networks, routes.lengths, routes.values)
    return _Plane((File(_FIB, fib), File(_OBJECT, program)), {"object": _OBJECT, "fib": _FIB})


def _click(plan: ClusterPlan, routes: Table) -> _Plane:
    if plan.forwarding.application == "ipsec" and not plan.forwarding.tunnels:
        raise UsageError("application ipsec has no tunnel to encrypt for", hint="write a section `ipsec:`")
    if plan.forwarding.application == "ipsec" and plan.forwarding.click_dialect == "kernel":
        raise UsageError("Click's kernel dialect has no ipsec", hint="write `click: {dialect: dpdk}` or socket")
    for tunnel in plan.forwarding.tunnels:
        if not routes.covers(tunnel.peer):
            raise UsageError(
                f"no route leads to {tunnel.peer}, a tunnel's peer: what is encrypted for it would be dropped",
                hint="add one under `routes:`, or name a neighbour as peer",
            )
    library = library_file(plan, routes)
    return _Plane((library, *element_files()), {"library": library.path})


def _unit(unit: str, name: str, digest: str) -> bytes:
    return template(f"systemd/{unit}", cluster=name, digest=digest, start_timeout_s=_START_TIMEOUT_S)


def _top(plan: ClusterPlan) -> tuple[File, ...]:
    return (
        File("plan.json", plan.to_json().encode() + b"\n"),
        File("ansible.cfg", template("ansible/ansible.cfg", forks=_FORKS)),
        File("inventory/hosts.yml", inventory(plan)),
    )


def _shipped() -> Iterator[File]:
    """Playbooks at the top, roles beside them: what `ansible-playbook site.yml` needs without rbops."""
    for base, prefix in ((shared("playbooks"), ""), (shared("roles"), "roles/")):
        for path in sorted(base.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield File(f"{prefix}{path.relative_to(base).as_posix()}", path.read_bytes(), _mode(path))
    # The role's module runs where nothing of rbops is installed.
    build = Path(rbops.__file__).parent / "dataplane" / "click" / "build.py"
    yield File("roles/click/module_utils/rbops_click_build.py", build.read_bytes())


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644
