"""The verbs ``apply``, ``diff``, ``status`` and ``rollback``: a plan and the servers it is for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import InventoryPath, Limit, Output, Spec
from rbops.cli.output import Format, emit, emit_json, say, show

if TYPE_CHECKING:
    from pathlib import Path

    from rbops.deploy.apply import Applied

__all__ = ["register"]

Check = Annotated[bool, typer.Option("-C", "--check", help="Change nothing; say what would change.")]
ShowDiff = Annotated[bool, typer.Option("-D", "--diff", help="Show the differences that are, or would be, made.")]
Tags = Annotated[str | None, typer.Option("-t", "--tags", metavar="TAGS", help="Only tasks with these tags.")]
SkipTags = Annotated[str | None, typer.Option("--skip-tags", metavar="TAGS", help="Not the tasks with these tags.")]
Forks = Annotated[int | None, typer.Option("-f", "--forks", min=1, metavar="N", help="Servers worked on at once.")]
ExtraVars = Annotated[
    list[str] | None,
    typer.Option(
        "-e", "--extra-vars", metavar="VARS", help="key=value, YAML/JSON or @FILE; templates are not evaluated."
    ),
]
RevertTimeout = Annotated[
    int,
    typer.Option(
        "--revert-timeout",
        min=10,
        max=86400,
        metavar="S",
        help="Seconds after which servers put themselves back when they hear no more from this command.",
    ),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take a stale lock over; never while its revert timer is armed.")
]
SelfTest = Annotated[
    bool, typer.Option("--selftest", help="Send packets through the router before confirming; a fault puts all back.")
]


Reboot = Annotated[
    bool,
    typer.Option(
        "--reboot",
        help="Then reboot the servers that need it, one after the other, each when the one before forwards again.",
    ),
]
RebootTimeout = Annotated[
    int,
    typer.Option(
        "--reboot-timeout",
        min=30,
        max=86400,
        metavar="S",
        help="Seconds that a server may take from its reboot to forwarding again.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("diff")(diff)
    app.command("apply")(apply)
    app.command("status")(status)
    app.command("rollback")(rollback)


def apply(  # noqa: PLR0917 - a parameter an option
    spec: Spec,
    inventory: InventoryPath,
    limit: Limit = None,
    check: Check = False,
    show_diff: ShowDiff = False,
    tags: Tags = None,
    skip_tags: SkipTags = None,
    forks: Forks = None,
    extra_vars: ExtraVars = None,
    revert_timeout: RevertTimeout = 120,
    break_lock: BreakLock = False,
    selftest: SelfTest = False,
    reboot: Reboot = False,
    reboot_timeout: RebootTimeout = 600,
    output: Output = Format.TEXT,
) -> None:
    """Push the plan to its servers as one transaction.

    Either every server has the new configuration at the end, or every one is as it was: each keeps a
    snapshot and a timer that puts it back by itself unless this command confirms the change.
    """
    from rbops.cli.progress import deploy_progress
    from rbops.deploy.apply import ApplyOptions, apply
    from rbops.deploy.inventory import load_inventory
    from rbops.deploy.reboot import Reboots
    from rbops.deploy.runner import PlayOptions
    from rbops.deploy.runs import Run
    from rbops.deploy.stop import stoppable
    from rbops.planner import load_plan

    plan = load_plan(spec)
    servers = load_inventory(inventory, limit)
    play = PlayOptions(check, show_diff, tags, skip_tags, forks, tuple(extra_vars or ()))
    options = ApplyOptions(play, revert_timeout, break_lock)
    with stoppable() as stop, deploy_progress(show_diff=show_diff) as reporter:
        acceptance = partial(_accept, spec, inventory, limit) if selftest else None
        done = apply(plan, servers, options, reporter, stop, acceptance)
        rebooted: dict[str, float] = {}
        if reboot and done.waiting:
            run = Run(done.run, done.folder)
            work = Reboots(run, plan, servers.matching(plan), reporter, stop, reboot_timeout)
            rebooted = work.all(list(done.waiting))
    _print_applied(done, output, rebooted)


def _accept(spec: Path, inventory: Path, limit: str | None) -> None:
    """Raise CheckFailed with the first faults when the router that was just pushed does not forward."""
    from rbops.cli.selftest import QUICK_S, measure
    from rbops.errors import CheckFailed
    from rbops.selftest.options import Options
    from rbops.selftest.phases import quick

    result = measure(spec, inventory, limit, Options(duration_s=QUICK_S, phases=quick()))
    if not result.passed:
        faults = "; ".join(fault.text for fault in result.faults[:3])
        raise CheckFailed(f"the self-test found {len(result.faults)} faults: {faults}")


def rollback(
    spec: Spec,
    inventory: InventoryPath,
    limit: Limit = None,
    revert_timeout: RevertTimeout = 120,
    break_lock: BreakLock = False,
    output: Output = Format.TEXT,
) -> None:
    """Go back to the configuration that was confirmed before the present one.

    Its files are those that were pushed from this machine then; going back is a transaction as apply is.
    """
    from rbops.cli.progress import deploy_progress
    from rbops.deploy.apply import ApplyOptions
    from rbops.deploy.inventory import load_inventory
    from rbops.deploy.rollback import rollback
    from rbops.deploy.stop import stoppable
    from rbops.planner import load_plan

    plan = load_plan(spec)
    servers = load_inventory(inventory, limit)
    options = ApplyOptions(revert_timeout_s=revert_timeout, break_lock=break_lock)
    with stoppable() as stop, deploy_progress(show_diff=False) as reporter:
        done = rollback(plan, servers, options, reporter, stop)
    _print_applied(done, output, {})


def diff(spec: Spec, inventory: InventoryPath, limit: Limit = None, output: Output = Format.TEXT) -> None:
    """Say what apply would change on each server; exit 1 when there is something, 0 when not."""
    from rbops.deploy.inventory import load_inventory
    from rbops.deploy.status import diff_servers
    from rbops.errors import CheckFailed
    from rbops.planner import load_plan
    from rbops.report.apply import diff_json, diff_lines

    plan = load_plan(spec)
    found = diff_servers(plan, load_inventory(inventory, limit))
    if output is Format.JSON:
        emit_json(diff_json(found, plan.digest))
    else:
        emit("\n".join(diff_lines(found)))
    changed = [server.name for server in found if not server.equal]
    if changed:
        raise CheckFailed(f"{len(changed)} of {len(found)} servers differ from the plan: {', '.join(changed)}")


def status(spec: Spec, inventory: InventoryPath, limit: Limit = None, output: Output = Format.TEXT) -> None:
    """Show each server's plan, data plane, services, uptime, lock and revert timer."""
    from rbops.deploy.inventory import load_inventory
    from rbops.deploy.status import status_servers
    from rbops.errors import Unreachable
    from rbops.planner import load_plan
    from rbops.report.status import problems, status_blocks

    plan = load_plan(spec)
    found = status_servers(plan, load_inventory(inventory, limit))
    if output is Format.JSON:
        servers = {one.name: {**one.to_dict(), "problems": problems(one, plan.digest)} for one in found}
        emit_json({"schema_version": 1, "digest": plan.digest, "servers": servers})
    else:
        show(status_blocks(found, plan.digest))
    lost = [server.error for server in found if server.error]
    if lost:
        raise Unreachable("\n".join(lost))


def _print_applied(done: Applied, output: Format, rebooted: Mapping[str, float]) -> None:
    from rbops.report.apply import applied_json, applied_lines

    if output is Format.JSON:
        emit_json(applied_json(done, rebooted))
        return
    emit("\n".join(applied_lines(done, rebooted)))
    if done.waiting and not rebooted:
        say("`rbops apply --reboot` reboots one server after the other")
    say(f"journal: {done.folder}")
