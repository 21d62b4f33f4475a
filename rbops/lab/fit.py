"""Whether a plan can be built on this machine."""

from __future__ import annotations

from rbops.common.limits import MAX_LAB_SERVERS
from rbops.errors import Mismatch
from rbops.plan import ClusterPlan

__all__ = ["check_fit", "check_inotify"]

_INOTIFY_PER_SERVER = 6
_INOTIFY_OTHERS = 16

_HINT = "plan for the lab: `servers: {profile: lab}` in the spec"


def check_fit(plan: ClusterPlan, cpus: frozenset[int]) -> None:
    """Raise Mismatch, naming plan and machine, when ``plan`` is not for a lab on these ``cpus``."""
    for server in plan.servers:
        if server.profile != "lab":
            raise Mismatch(f"{server.name} is planned as {server.profile!r}, and a lab server is a 'lab'", hint=_HINT)
        absent = sorted({*server.cores.dataplane, *server.cores.housekeeping} - cpus)
        if absent:
            raise Mismatch(
                f"{server.name} is planned with core{'s' if len(absent) > 1 else ''} {_text(absent)}, and this machine "
                f"has {_text(sorted(cpus))} online",
                hint=_HINT,
            )
    if len(plan.servers) > MAX_LAB_SERVERS:
        raise Mismatch(
            f"the plan has {len(plan.servers)} servers, and a lab holds {MAX_LAB_SERVERS}",
            hint="a lab's management network is a /24: plan fewer external ports",
        )


def check_inotify(servers: int, limit: int) -> None:
    """Raise Mismatch when root's inotify instances (``fs.inotify.max_user_instances``) do not suffice.

    All lab servers share root's limit; a system that finds none left boots without its services.
    """
    needed = servers * _INOTIFY_PER_SERVER + _INOTIFY_OTHERS
    if needed > limit:
        raise Mismatch(
            f"{servers} lab servers need about {needed} inotify instances, and this machine allows {limit}",
            hint=f"sysctl -w fs.inotify.max_user_instances={max(1024, needed)}",
        )


def _text(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
