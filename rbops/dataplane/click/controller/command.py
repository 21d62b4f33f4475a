"""The command that runs a configuration, one line a dialect: made here and nowhere else."""

from __future__ import annotations

from rbops.dataplane.click import kernel_mode
from rbops.dataplane.click.controller.router import first_cpu
from rbops.plan import ClusterPlan, Server

__all__ = ["CONTROL", "command", "threads"]

CONTROL = "/run/rbops-click/control"
_CONFIG = "/etc/rbops/click/router.click"
_PATH = "/var/lib/rbops/click:/etc/rbops/click:"
"""Compiled packages, the routes' library, and behind the last colon what Click itself has."""


def threads(server: Server) -> int:
    """How many threads Click starts, where it counts them by CPU: those on CPUs in between are idle."""
    cpus = server.cores.dataplane
    return max(cpus) - min(cpus) + 1


def command(plan: ClusterPlan, server: Server, prefix: str | None) -> list[str]:
    """Words without spaces; ``prefix`` is where Click is, None: where systemd looks for programs.

    ``$PARAMETERS`` is what rbops-node says of devices that are called otherwise than planned.
    """
    dialect = plan.forwarding.click_dialect
    if dialect == kernel_mode.DIALECT:
        return kernel_mode.command(prefix, _PATH, _CONFIG, threads(server), first_cpu(server))
    program = f"{prefix}/bin/click" if prefix else "click"
    control = ["-C", _PATH, "-u", CONTROL]
    if dialect == "socket":
        many = ["-j", str(threads(server)), f"--affinity={first_cpu(server)}", "-R"]
        return [program, *many, *control, _CONFIG, "$PARAMETERS"]
    # Threads are the CPUs of -l, in that order; -j and --affinity do not count. Queues cannot be made anew: no -R.
    cpus = ["-l", ",".join(str(cpu) for cpu in server.cores.dataplane), "-n", "4"]
    return [program, "--dpdk", *cpus, "--", *control, _CONFIG, "$PARAMETERS"]
