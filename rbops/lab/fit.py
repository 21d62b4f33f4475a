"""Whether a plan can be built on this machine."""

from __future__ import annotations

from rbops import hardware
from rbops.common.limits import MAX_LAB_SERVERS
from rbops.errors import Mismatch, Where
from rbops.lab.names import LAST_INDEX
from rbops.plan import ClusterPlan

__all__ = ["check_count", "check_fit", "check_inotify", "check_systems"]

_INOTIFY_PER_SERVER = 6
_INOTIFY_OTHERS = 16

_HINT = "plan for the lab: `servers: {profile: lab}` in the spec, or hardware of your own with `driver: veth`"


def check_fit(plan: ClusterPlan, cpus: frozenset[int]) -> None:
    """Raise Mismatch, naming plan and machine, when ``plan`` is not for a lab on these ``cpus``."""
    for server in plan.servers:
        described = server.profile not in hardware.names() and all(port.driver == "veth" for port in server.ports)
        if server.profile != "lab" and not described:
            raise Mismatch(
                f"profile {server.profile!r}, a lab server needs 'lab'",
                code="lab.profile",
                where=Where(server=server.name),
                hint=_HINT,
            )
        absent = sorted({*server.cores.dataplane, *server.cores.housekeeping} - cpus)
        if absent:
            raise Mismatch(
                f"planned with core{'s' if len(absent) > 1 else ''} {_text(absent)}, this machine has "
                f"{_text(sorted(cpus))} online",
                code="lab.cores",
                where=Where(server=server.name),
                hint=_HINT,
            )
    check_count(plan)


def check_count(plan: ClusterPlan) -> None:
    """Raise Mismatch when ``plan`` has more servers than a lab can have."""
    if len(plan.servers) > MAX_LAB_SERVERS:
        raise Mismatch(
            f"the plan has {len(plan.servers)} servers, a lab has {MAX_LAB_SERVERS} at most",
            code="lab.too-many-servers",
            hint="a lab's management network is a /24: plan fewer external ports",
        )


def check_systems(plan: ClusterPlan, *, testers: bool) -> int:
    """How many systems a lab boots; Mismatch where it has no addresses for all of them."""
    if not testers:
        return len(plan.servers)
    count = len(plan.servers) + len(plan.port_owner)
    if len(plan.servers) + max(plan.port_owner) > LAST_INDEX:
        raise Mismatch(
            f"{count} servers and testers, a lab's management network has {LAST_INDEX + 1} addresses",
            code="lab.too-many-servers",
            hint="leave the testers namespaces: `--testers namespaces`",
        )
    return count


def check_inotify(servers: int, limit: int) -> None:
    """Raise Mismatch when root's inotify instances (``fs.inotify.max_user_instances``) do not suffice.

    All lab servers share root's limit; a system that gets none boots without its services.
    """
    needed = servers * _INOTIFY_PER_SERVER + _INOTIFY_OTHERS
    if needed > limit:
        raise Mismatch(
            f"{servers} lab servers need about {needed} inotify instances, this machine allows {limit}",
            code="lab.inotify",
            hint=f"sysctl -w fs.inotify.max_user_instances={max(1024, needed)}",
        )


def _text(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
