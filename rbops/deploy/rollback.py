"""Back to an earlier generation, or to nothing of rbops: from what the servers keep, as a transaction like apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rbops.deploy.apply import ApplyOptions
from rbops.deploy.history import Generation, ServerHistory, read_history
from rbops.deploy.inventory import Inventory
from rbops.deploy.node import REVERT_WAIT_S, RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, probe
from rbops.deploy.reboot import Waiting, waiting_of_all
from rbops.deploy.report import Journaling, Reporter
from rbops.deploy.runs import Run, new_run
from rbops.deploy.ssh import Session
from rbops.deploy.stop import Stop
from rbops.deploy.transaction import Transaction, connected
from rbops.errors import CheckFailed, Mismatch, RbopsError
from rbops.node.installed import PATHS
from rbops.render.program import node_program

__all__ = ["RolledBack", "remove", "rollback"]

_SHORT = 12
_GENERATIONS = "/var/lib/rbops/generations"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What the servers have now: plan ``digest`` ("" after remove), and what takes effect with a reboot only."""

    run: Run
    digest: str
    servers: tuple[str, ...]
    waiting: Mapping[str, tuple[Waiting, ...]]


def rollback(inventory: Inventory, back: int, options: ApplyOptions, reporter: Reporter, stop: Stop) -> RolledBack:
    """Restore the generation ``back`` confirmations before the present one, on all servers of the inventory.

    Raises Mismatch (3) when the servers have no or several plans now, or that generation is not the same on all or
    not kept, and what apply raises.
    """
    with connected(inventory.servers, None, reporter) as (sessions, before):
        _same({name: found.digest for name, found in before.items()}, "have")
        change = _change("rollback", inventory, sessions, before, options, reporter, stop)
        chosen = _choose(change, back)

        def planned(name: str) -> str:
            return f"{_GENERATIONS}/{chosen[name].number:06}/etc/node.json"

        def work() -> None:
            change.reporter.step("restoring")
            with change.kept_open():
                change.call(lambda session: _restore(session, change, chosen[session.target.name]))
            change.confirm_unless_stopped()

        _carry_out(change, planned, work, options)
    waiting = waiting_of_all(change.confirmed)
    return RolledBack(change.run, next(iter(chosen.values())).digest, tuple(chosen), waiting)


def remove(inventory: Inventory, options: ApplyOptions, reporter: Reporter, stop: Stop) -> RolledBack:
    """Take everything of rbops off the servers of the inventory: kernel settings, files, units, its own state.

    Debian's packages that apply installed stay. Raises what apply raises.
    """
    with connected(inventory.servers, None, reporter) as (sessions, before):
        change = _change("remove", inventory, sessions, before, options, reporter, stop)

        def work() -> None:
            change.reporter.step("removing")
            with change.kept_open():
                change.call(lambda session: _remove(session, change))
            change.confirm_unless_stopped()

        _carry_out(change, lambda _: None, work, options)
    return RolledBack(change.run, "", tuple(before), {})


def _change(
    verb: str,
    inventory: Inventory,
    sessions: Mapping[str, Session],
    before: Mapping[str, Probe],
    options: ApplyOptions,
    reporter: Reporter,
    stop: Stop,
) -> Transaction:
    stop.end_if_requested("nothing was changed")
    run = new_run(verb)
    settings = (options.revert_timeout_s, Journaling(run, reporter), stop, options.reason)
    return Transaction(run, inventory.servers, sessions, before, node_program(), *settings)


def _choose(change: Transaction, back: int) -> dict[str, Generation]:
    """What each server would restore: the same plan on all."""

    def ask(session: Session) -> Generation:
        stage(session, change.folder, {"rbops-node": change.program})
        found = read_history(session, change.node(session), change.before[session.target.name])
        return _chosen(found, back)

    try:
        chosen = change.call(ask)
        digest = _same({name: generation.digest for name, generation in chosen.items()}, "would have")
    except RbopsError:
        change.call(lambda session: unstage(session, change.folder))
        raise
    change.reporter.step(f"rolling back to plan {digest[:_SHORT]}")
    return chosen


def _carry_out(
    change: Transaction, planned: Callable[[str], str | None], work: Callable[[], None], options: ApplyOptions
) -> None:
    change.run.carry_out(
        {"servers": [target.name for target in change.targets]},
        lambda: change.carry_out(planned, work, break_lock=options.break_lock),
        lambda _: {},
    )


def _chosen(server: ServerHistory, back: int) -> Generation:
    if back > len(server.earlier):
        raise Mismatch(
            f"{server.name} keeps {len(server.earlier) or 'no'} configuration{'s' if len(server.earlier) != 1 else ''} "
            f"before the present one, expected {back}",
            code="rollback.not-kept",
            hint="`rbops history` shows them; `rbops apply` with the earlier spec goes back too",
        )
    return server.earlier[back - 1]


def _same(digests: Mapping[str, str | None], verb: str) -> str:
    found = set(digests.values())
    if found == {None}:
        raise Mismatch(
            f"{', '.join(digests)}: no configuration of rbops to go back from",
            code="rollback.nothing",
            hint="`rbops history` shows what the servers keep",
        )
    if len(found) != 1 or None in found:
        shown = ", ".join(f"{name} {str(digest or 'none')[:_SHORT]}" for name, digest in digests.items())
        raise Mismatch(
            f"the servers {verb} different plans, expected the same on all: {shown}",
            code="rollback.different-plans",
            hint="`rbops history` shows them; `rbops apply` makes them equal, --limit chooses servers",
        )
    return str(found.pop())


def _restore(session: Session, change: Transaction, generation: Generation) -> None:
    arguments = ("--run", change.run.id, "--generation", str(generation.number))
    change.node(session).call("restore", *arguments, timeout=REVERT_WAIT_S)
    digest = probe(session).digest
    differences = RemoteNode(session).diff()
    if digest != generation.digest or differences:
        first = "; ".join("{subject}: {setting} is {have}, expected {want}".format(**d) for d in differences[:3])
        raise CheckFailed(
            f"generation {generation.number} was restored, but the server has plan {str(digest)[:_SHORT]}: {first}",
            code="rollback.no-effect",
            where=session.target.where,
        )


def _remove(session: Session, change: Transaction) -> None:
    change.node(session).call("remove", "--run", change.run.id, timeout=REVERT_WAIT_S)
    own = {f"/{path}" for path in PATHS}
    left = sorted(path for path in probe(session).files if path in own or path.startswith("/etc/rbops/"))
    if left:
        raise CheckFailed(
            f"files of rbops are still there: {', '.join(left)}", code="remove.files", where=session.target.where
        )
