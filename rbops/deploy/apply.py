"""The push as a transaction: either every server has the new configuration, or every one has its old.

inventory against plan (3) -> reach all (4) -> identities (3) -> lock (7) -> snapshot and timer on all ->
Ansible, unless all files are there -> read back -> acceptance -> confirm over new connections -> unlock. From the
snapshot on, any failure rolls every server back (5), or names the servers an operator has to look at (6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbops.deploy import again
from rbops.deploy.daemon import check_daemon
from rbops.deploy.growth import Resize, left_behind, resize
from rbops.deploy.inventory import Inventory
from rbops.deploy.keys import Keys, keys_of_project
from rbops.deploy.node import RemoteNode
from rbops.deploy.probe import Probe, probe
from rbops.deploy.reboot import Waiting, waiting_of_all
from rbops.deploy.report import Journaling, Reporter
from rbops.deploy.rolling import Rolling
from rbops.deploy.runner import PlayOptions, PlayResult, run_playbook
from rbops.deploy.runs import Run, new_run
from rbops.deploy.ssh import Session, each, raise_errors
from rbops.deploy.stop import Stop
from rbops.deploy.transaction import Transaction, connected
from rbops.errors import ApplyFailed, CheckFailed, Unreachable, Where
from rbops.node.settings import Note
from rbops.plan import ClusterPlan
from rbops.render import Rendered

__all__ = ["Acceptance", "Applied", "ApplyOptions", "Push", "apply", "push"]

REVERT_TIMEOUT_S = 120
PLAY_TIMEOUT_S = 3600.0

Acceptance = Callable[[], None]
"""What must hold before the change is confirmed, a self-test for example; raises RbopsError otherwise."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """``revert_timeout_s``: seconds without contact to this program before a server rolls itself back.

    ``reason``: the operator's words, kept with the generation. ``serial``: so many servers at a time.
    """

    play: PlayOptions = field(default_factory=PlayOptions)
    revert_timeout_s: int = REVERT_TIMEOUT_S
    break_lock: bool = False
    reason: str = ""
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A push that succeeded. ``changed``: changed tasks per server. ``partial``: only some tasks ran.

    ``played``: Ansible ran; it does not where every server has all files already.
    ``waiting``: what takes effect with a server's next reboot, of the servers where something does.
    ``gone``: servers that are not in the plan any more, and were left as they are.
    ``unsupported``: planned settings that a server's hardware does not support, without those in ``waiting``.
    """

    run: str
    folder: Path
    digest: str
    changed: Mapping[str, int]
    check: bool
    partial: bool
    played: bool
    seconds: float
    waiting: Mapping[str, tuple[Waiting, ...]]
    unsupported: Mapping[str, tuple[Note, ...]]
    gone: tuple[str, ...] = ()

    @property
    def total_changed(self) -> int:
        """Changed tasks on all servers together."""
        return sum(self.changed.values())


@dataclass(frozen=True, slots=True)
class Push:
    """What is pushed: rendered files in ``run.project`` to ``inventory``'s servers, all of them planned."""

    run: Run
    plan: ClusterPlan
    rendered: Rendered
    inventory: Inventory

    @property
    def digest(self) -> str:
        """The plan's."""
        return self.rendered.digest


def apply(
    plan: ClusterPlan,
    inventory: Inventory,
    options: ApplyOptions,
    reporter: Reporter,
    stop: Stop,
    acceptance: Acceptance | None = None,
) -> Applied:
    """Render the plan and push it to the inventory's servers (those its limit leaves).

    Raises the errors of the module's docstring; before the snapshot nothing has been changed anywhere.
    """
    from rbops.render import render, write

    chosen = inventory.matching(plan)
    left_out = [server.name for server in plan.servers if server.name not in {t.name for t in chosen.servers}]
    if left_out:
        reporter.warn(f"--limit excludes {', '.join(left_out)}: their configuration stays as it is")
    run = new_run("apply")
    reporter = Journaling(run, reporter)
    reporter.step("rendering")
    rendered = render(plan)
    write(rendered, run.project)
    if not check_daemon(plan) and plan.routing is not None:
        name = plan.routing.daemon
        reporter.warn(f"{name} is not installed here: the servers check its configuration, after the push")
    run.write("plan.json", plan.to_json(indent=2))
    return push(Push(run, plan, rendered, chosen), options, reporter, stop, acceptance)


def push(
    what: Push, options: ApplyOptions, reporter: Reporter, stop: Stop, acceptance: Acceptance | None = None
) -> Applied:
    """Push rendered files; the journal in the run's folder records the outcome, also of a failure."""
    facts = {
        "cluster": what.plan.name,
        "digest": what.digest,
        "servers": [target.name for target in what.inventory.servers],
        "check": options.play.check,
    }
    keys = keys_of_project(what.run.project)

    def one(part: Push) -> Applied:
        return _push(part, keys, options, reporter, stop, acceptance)

    work = lambda: one(what)  # noqa: E731 - or in steps
    if options.serial and options.serial < len(what.inventory.servers) and not options.play.check:
        rolling = Rolling(what, options.serial, reporter, stop, options.break_lock)
        work = lambda: rolling.all(one)  # noqa: E731
    return what.run.carry_out(facts, work, _ended)


def _ended(done: Applied) -> dict[str, Any]:
    """For the journal."""
    return {
        "outcome": "checked" if done.check else "confirmed",
        "changed": dict(done.changed),
        "seconds": done.seconds,
        "played": done.played,
        "partial": done.partial,
        "waiting": {name: [str(entry) for entry in entries] for name, entries in done.waiting.items()},
        "unsupported": {name: [note.to_json() for note in notes] for name, notes in done.unsupported.items()},
    }


def _push(
    what: Push,
    keys: Mapping[str, tuple[Keys, ...]],
    options: ApplyOptions,
    reporter: Reporter,
    stop: Stop,
    acceptance: Acceptance | None,
) -> Applied:
    targets = what.inventory.servers
    with connected(targets, what.plan.name, reporter) as (sessions, before):
        stop.end_if_requested("nothing was changed")
        if options.play.check:
            return _checked(what, options, reporter, stop)
        size = resize(what.plan, before, reporter)
        if size is not None:
            size.refuse(sessions)
        program = (what.run.project / "common" / "rbops-node").read_bytes()
        times = (options.revert_timeout_s, reporter, stop, options.reason)
        change = Transaction(what.run, targets, sessions, before, program, *times)
        result = change.carry_out(
            lambda name: (what.run.project / "hosts" / name / "etc" / "rbops" / "node.json").read_bytes(),
            lambda: _change(what, keys, options, change, reporter, stop, acceptance, size),
            break_lock=options.break_lock,
        )
    if options.reason and not any(answer.get("generation") for answer in change.confirmed.values()):
        reporter.warn("--message: no new configuration was confirmed, so the history has no entry for it")
    if size is not None and size.gone:
        reporter.warn(left_behind(tuple(size.gone)))
    return _applied(what, options, result, waiting_of_all(change.confirmed), tuple(size.gone) if size else ())


def _change(
    what: Push,
    keys: Mapping[str, tuple[Keys, ...]],
    options: ApplyOptions,
    change: Transaction,
    reporter: Reporter,
    stop: Stop,
    acceptance: Acceptance | None,
    size: Resize | None,
) -> PlayResult:
    """From the armed timers to the confirmation; raises the reason for a rollback."""
    stop.end_if_requested("nothing was pushed yet")
    if size is not None:
        size.prepare(change, reporter)
        stop.end_if_requested("nothing was pushed yet")
    result = _pushed(what, keys, options, change, reporter, stop, size)
    if options.play.tags or options.play.skip_tags:
        reporter.warn("--tags or --skip-tags push only a part: the servers are not read back")
    elif result.played or result.changed:
        reporter.step("reading back")
        change.call(lambda session: _read_back(what, keys, session))
    with size.opened(change, reporter) if size is not None else nullcontext():
        if acceptance is not None:
            reporter.step("acceptance")
            with change.kept_open():
                acceptance()
        change.confirm_unless_stopped()
    return result


def _pushed(
    what: Push,
    keys: Mapping[str, tuple[Keys, ...]],
    options: ApplyOptions,
    change: Transaction,
    reporter: Reporter,
    stop: Stop,
    size: Resize | None,
) -> PlayResult:
    """By Ansible, newcomers first, or where every server has all files already without it. Raises ApplyFailed (5)."""
    with change.kept_open():
        if again.all_there(what, change.before.values(), keys, options.play):
            reporter.step("all files are there: comparing")
            result = again.activate(what, change, reporter)
            if result is not None:
                return result
        first = _newcomers(what, keys, options, change, reporter, stop, size) if size and size.newcomers else None
        reporter.step("pushing")
        only = size.others if first and size else None
        return _succeeded(_play(what, options, reporter, stop, only), stop, first)


def _newcomers(
    what: Push,
    keys: Mapping[str, tuple[Keys, ...]],
    options: ApplyOptions,
    change: Transaction,
    reporter: Reporter,
    stop: Stop,
    size: Resize,
) -> PlayResult:
    """Complete, before any other server knows them."""
    reporter.step(f"pushing to the newcomers first: {', '.join(size.newcomers)}")
    result = _succeeded(_play(what, options, reporter, stop, size.newcomers), stop)
    if not options.play.tags and not options.play.skip_tags:
        found = each(
            ((name, change.sessions[name]) for name in size.newcomers), lambda session: _read_back(what, keys, session)
        )
        raise_errors(found)
    stop.end_if_requested("the newcomers were pushed to, nobody else")
    return result


def _succeeded(result: PlayResult, stop: Stop, first: PlayResult | None = None) -> PlayResult:
    """The result, with that of a ``first`` play. ApplyFailed (5) for any other."""
    if result.outcome != "successful":
        raise ApplyFailed(_why(result, stop), code="apply.play")
    if first is None:
        return result
    changed, notes = {**first.changed, **result.changed}, {**first.notes, **result.notes}
    return replace(result, changed=changed, notes=notes, seconds=first.seconds + result.seconds)


def _checked(what: Push, options: ApplyOptions, reporter: Reporter, stop: Stop) -> Applied:
    """``--check``: Ansible says what it would change; no lock, no snapshot, no timer."""
    reporter.step("checking what would change")
    result = _play(what, options, reporter, stop)
    if result.unreachable:
        raise Unreachable(result.reason, code="apply.check-unreachable")
    if result.outcome != "successful":
        raise CheckFailed(_why(result, stop), code="apply.check")
    return _applied(what, options, result, {})


def _play(
    what: Push, options: ApplyOptions, reporter: Reporter, stop: Stop, only: Sequence[str] | None = None
) -> PlayResult:
    """``only``: the servers of one of several plays."""
    playbook, play = what.run.project / "site.yml", options.play
    if not play.check:
        # A server that has rolled the change back meanwhile takes no more of it.
        play = replace(play, extra_vars=(*play.extra_vars, f"rbops_run={what.run.id}"))
    inventory = what.inventory
    if only is not None:
        inventory = replace(inventory, servers=tuple(target for target in inventory.servers if target.name in only))
    first = not (what.run.folder / "artifacts" / "play").exists()
    part = "play" if first else f"play-{inventory.servers[0].name}"
    return run_playbook(
        what.run, playbook, inventory, play, on_event=reporter.task, stop=stop, timeout=PLAY_TIMEOUT_S, part=part
    )


def _why(result: PlayResult, stop: Stop) -> str:
    return f"interrupted by {stop.reason}" if result.outcome == "canceled" else result.reason


def _applied(
    what: Push,
    options: ApplyOptions,
    result: PlayResult,
    waiting: Mapping[str, tuple[Waiting, ...]],
    gone: tuple[str, ...] = (),
) -> Applied:
    play = options.play
    changed = {target.name: result.changed.get(target.name, 0) for target in what.inventory.servers}
    return Applied(
        run=what.run.id,
        folder=what.run.folder,
        digest=what.digest,
        changed=changed,
        check=play.check,
        partial=bool(play.tags or play.skip_tags),
        played=result.played,
        seconds=round(result.seconds, 3),
        waiting=waiting,
        unsupported=_unsupported(result.notes, waiting),
        gone=gone,
    )


def _unsupported(
    notes: Mapping[str, tuple[Note, ...]], waiting: Mapping[str, tuple[Waiting, ...]]
) -> dict[str, tuple[Note, ...]]:
    """The notes without those that a reboot resolves."""
    later = {(name, entry.subject, entry.setting) for name, entries in waiting.items() for entry in entries}
    left = {
        name: tuple(note for note in found if (name, note.subject, note.setting) not in later)
        for name, found in sorted(notes.items())
    }
    return {name: found for name, found in left.items() if found}


def _read_back(what: Push, keys: Mapping[str, tuple[Keys, ...]], session: Session) -> None:
    """Raise CheckFailed unless files and kernel of the server are what was pushed."""
    name = session.target.name
    found = probe(session)
    folder = what.run.project / "hosts" / name
    wanted = {f"/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}
    wanted["/usr/sbin/rbops-node"] = what.run.project / "common" / "rbops-node"
    wrong = [path for path, source in wanted.items() if _digest(found, path) != _sha256(source)]
    if wrong:
        raise CheckFailed(
            f"the files on the server are not those that were pushed: {', '.join(sorted(wrong))}",
            code="apply.files",
            where=session.target.where,
        )
    for own in keys.get(name, ()):
        stale = own.difference(found.files)
        if stale:
            raise CheckFailed(
                f"the key file is not what was pushed: {stale[0]}, expected {stale[1]}",
                code="apply.keys",
                where=Where(server=name, file=own.path),
            )
    if found.digest != what.digest:
        raise CheckFailed(
            f"the server has plan {found.digest}, expected {what.digest}",
            code="apply.digest",
            where=session.target.where,
        )
    differences = RemoteNode(session).diff()
    if differences:
        first = "; ".join("{subject}: {setting} is {have}, expected {want}".format(**d) for d in differences[:3])
        raise CheckFailed(f"settings did not take effect: {first}", code="apply.no-effect", where=session.target.where)


def _digest(found: Probe, path: str) -> str | None:
    entry = found.files.get(path)
    return entry[1] if entry else None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
