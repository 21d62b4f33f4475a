"""The verbs that change servers: ``apply``, ``diff``, ``history`` and the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, conclude_json, emit, emit_json, say, show
from rbops.cli.servers import Servers, reaches_servers

if TYPE_CHECKING:
    from rbops.deploy.apply import Applied
    from rbops.deploy.rollback import RolledBack

__all__ = ["register"]

Check = Annotated[bool, typer.Option("-C", "--check", help="Dry run: report what would change.")]
ShowDiff = Annotated[bool, typer.Option("-D", "--diff", help="Show differences in files.")]
Tags = Annotated[str | None, typer.Option("-t", "--tags", metavar="TAGS", help="Run only tasks with these tags.")]
SkipTags = Annotated[str | None, typer.Option("--skip-tags", metavar="TAGS", help="Skip tasks with these tags.")]
Forks = Annotated[
    int | None, typer.Option("-f", "--forks", min=1, metavar="N", help="Number of servers to work on in parallel.")
]
ExtraVars = Annotated[
    list[str] | None,
    typer.Option(
        "-e",
        "--extra-vars",
        metavar="VARS",
        help="Ansible variables: key=value, YAML/JSON or @FILE. Templates are not evaluated.",
    ),
]
RevertTimeout = Annotated[
    int,
    typer.Option(
        "--revert-timeout",
        min=10,
        max=86400,
        metavar="SECONDS",
        help="Seconds without contact before a server rolls back.",
    ),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Break a stale lock. Refused while its revert timer is armed.")
]
ConfirmIf = Annotated[
    str,
    typer.Option(
        metavar="verify,selftest",
        help="Confirm only what passes verify, a quick self-test, or both; otherwise all servers are rolled back.",
    ),
]
Reason = Annotated[
    str, typer.Option("-m", "--message", metavar="TEXT", help="Why, kept with the configuration and shown by history.")
]
Back = Annotated[str, typer.Argument(metavar="BACK", help="How many confirmed configurations to go back.")]
MOST_BACK = 9

Reboot = Annotated[
    bool,
    typer.Option(
        "--reboot",
        help="Rolling reboot of the servers that need one, each after the previous one forwards again.",
    ),
]
Serial = Annotated[
    int | None,
    typer.Option(
        "--serial",
        min=1,
        metavar="N",
        help="Apply to N servers at a time, each drained before and used again after. Stops at the first failure.",
    ),
]
RebootTimeout = Annotated[
    int,
    typer.Option(
        "--reboot-timeout",
        min=30,
        max=86400,
        metavar="SECONDS",
        help="Seconds for a server to reboot and forward again.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("diff")(reaches_servers(diff))
    app.command("apply")(reaches_servers(apply))
    app.command("history")(reaches_servers(history))
    app.command("rollback")(reaches_servers(rollback))
    app.command("remove")(reaches_servers(remove))


def apply(  # noqa: PLR0917 - a parameter an option
    spec: Spec,
    servers: Servers,
    check: Check = False,
    show_diff: ShowDiff = False,
    tags: Tags = None,
    skip_tags: SkipTags = None,
    forks: Forks = None,
    extra_vars: ExtraVars = None,
    revert_timeout: RevertTimeout = 120,
    break_lock: BreakLock = False,
    confirm_if: ConfirmIf = "",
    serial: Serial = None,
    reboot: Reboot = False,
    reboot_timeout: RebootTimeout = 600,
    reason: Reason = "",
    output: Output = Format.TEXT,
) -> None:
    """Apply the plan to its servers as one transaction.

    In the end all servers have the new configuration, or all are rolled back: each keeps a snapshot and a timer that
    rolls it back unless this command confirms the change.
    """
    from rbops.cli.acceptance import acceptance, conditions
    from rbops.cli.progress import deploy_progress
    from rbops.deploy.apply import ApplyOptions, apply
    from rbops.deploy.reboot import Reboots
    from rbops.deploy.runner import PlayOptions
    from rbops.deploy.runs import Run
    from rbops.deploy.stop import stoppable
    from rbops.errors import UsageError
    from rbops.planner import load_plan

    wanted = conditions(confirm_if) if confirm_if else ()
    if serial and wanted:
        raise UsageError(
            "--confirm-if needs all servers at once, --serial has some at a time",
            code="apply.serial-condition",
            hint="`rbops verify` and `rbops selftest` after it",
        )
    plan = load_plan(spec)
    found = servers.load(tuple(extra_vars or ()))
    accept = acceptance(wanted, spec, servers, plan, found)
    play = PlayOptions(check, show_diff, tags, skip_tags, forks, tuple(extra_vars or ()))
    options = ApplyOptions(play, revert_timeout, break_lock, reason, serial)
    with stoppable() as stop, deploy_progress(show_diff=show_diff) as reporter:
        done = apply(plan, found, options, reporter, stop, accept)
        rebooted: dict[str, float] = {}
        if reboot and done.waiting:
            run = Run(done.run, done.folder)
            work = Reboots(run, plan, found.matching(plan), reporter, stop, reboot_timeout)
            rebooted = work.all(list(done.waiting))
    _print_applied(done, output, rebooted)


def history(servers: Servers, output: Output = Format.TEXT) -> None:
    """Show the last ten confirmed configurations, as the servers keep them."""
    from rbops.deploy.history import history
    from rbops.report.history import history_blocks, history_json

    found = history(servers.load())
    if output is Format.JSON:
        emit_json(history_json(found))
    else:
        show(history_blocks(found))


def rollback(
    servers: Servers,
    back: Back = "1",
    reason: Reason = "",
    revert_timeout: RevertTimeout = 120,
    break_lock: BreakLock = False,
    output: Output = Format.TEXT,
) -> None:
    """Roll back to an earlier confirmed configuration, the previous one unless BACK says how many back.

    The servers keep their last ten themselves: no spec is needed, and any machine with the inventory can do it. A
    rollback is a transaction like apply, and a configuration of its own in the history.
    """
    from rbops.cli.progress import deploy_progress
    from rbops.deploy.apply import ApplyOptions
    from rbops.deploy.rollback import rollback
    from rbops.deploy.stop import stoppable

    number = _back(back)
    inventory = servers.load()
    options = ApplyOptions(revert_timeout_s=revert_timeout, break_lock=break_lock, reason=reason or f"rollback {back}")
    with stoppable() as stop, deploy_progress(show_diff=False) as reporter:
        done = rollback(inventory, number, options, reporter, stop)
    _print_rolled_back(done, output)


def _back(text: str) -> int:
    from rbops.errors import UsageError

    if not text.isdecimal() or not 0 < int(text) <= MOST_BACK:
        raise UsageError(
            f"{text!r} is not a number of configurations to go back, expected 1 to {MOST_BACK}",
            code="rollback.number",
            hint="`rbops history -i INVENTORY` shows them; a spec is not needed",
        )
    return int(text)


def remove(
    servers: Servers,
    revert_timeout: RevertTimeout = 120,
    break_lock: BreakLock = False,
    output: Output = Format.TEXT,
) -> None:
    """Take rbops off the servers: kernel settings as before the first apply, no file, unit or state of rbops.

    A transaction like apply. The history goes too; Debian's packages that apply installed stay.
    """
    from rbops.cli.progress import deploy_progress
    from rbops.deploy.apply import ApplyOptions
    from rbops.deploy.rollback import remove
    from rbops.deploy.stop import stoppable

    inventory = servers.load()
    options = ApplyOptions(revert_timeout_s=revert_timeout, break_lock=break_lock)
    with stoppable() as stop, deploy_progress(show_diff=False) as reporter:
        done = remove(inventory, options, reporter, stop)
    _print_rolled_back(done, output)


def _print_rolled_back(done: RolledBack, output: Format) -> None:
    from rbops.report.history import rolled_back_json, rolled_back_lines

    if output is Format.JSON:
        emit_json(rolled_back_json(done))
        return
    emit("\n".join(rolled_back_lines(done)))
    say(f"journal: {done.run.folder}")


def diff(spec: Spec, servers: Servers, output: Output = Format.TEXT) -> None:
    """Show what apply would change on each server. Exits with 1 if there are differences."""
    from rbops.deploy.status import diff_servers
    from rbops.errors import CheckFailed
    from rbops.planner import load_plan
    from rbops.report.apply import diff_json, diff_lines
    from rbops.report.words import counted

    plan = load_plan(spec)
    found = diff_servers(plan, servers.load())
    changed = [server.name for server in found if not server.equal]
    text = f"{len(changed)} of {counted(len(found), 'server')} differ from the plan: {', '.join(changed)}"
    error = CheckFailed(text, code="diff.different") if changed else None
    if output is Format.JSON:
        conclude_json(diff_json(found, plan.digest), error)
        return
    emit("\n".join(diff_lines(found)))
    if error is not None:
        raise error


def _print_applied(done: Applied, output: Format, rebooted: Mapping[str, float]) -> None:
    from rbops.report.apply import applied_json, applied_lines

    if output is Format.JSON:
        emit_json(applied_json(done, rebooted))
        return
    emit("\n".join(applied_lines(done, rebooted)))
    if done.waiting and not rebooted:
        say("`rbops apply --reboot` reboots one server after the other")
    say(f"journal: {done.folder}")
