"""Back to the configuration that was confirmed before: the same files, pushed in a new transaction."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from rbops.deploy.apply import Applied, ApplyOptions, Push, push
from rbops.deploy.inventory import Inventory
from rbops.deploy.keys import keys_of_project
from rbops.deploy.probe import probe
from rbops.deploy.report import Reporter
from rbops.deploy.runs import new_run, runs_folder
from rbops.deploy.ssh import each, open_session, raise_errors
from rbops.deploy.stop import Stop
from rbops.errors import Mismatch, Where
from rbops.plan import ClusterPlan

__all__ = ["previous_run", "rollback"]


@dataclass(frozen=True, slots=True)
class _Confirmed:
    folder: Path
    digest: str
    servers: frozenset[str]


def rollback(plan: ClusterPlan, inventory: Inventory, options: ApplyOptions, reporter: Reporter, stop: Stop) -> Applied:
    """Push what was confirmed before the servers' present plan, by the journal of this machine.

    Raises Mismatch (3) when the servers have no or several plans now, or the journal has no earlier one.
    """
    chosen = inventory.matching(plan)
    names = [target.name for target in chosen.servers]
    present = _present(chosen)
    before = previous_run(plan.name, present, names)
    keys_of_project(before.folder / "project").check_same(before.folder)
    reporter.step(f"rolling back from plan {present[:12]} to {before.digest[:12]} of run {before.folder.name}")
    run = new_run("rollback")
    shutil.copytree(before.folder / "project", run.project, symlinks=True)
    run.write("plan.json", (before.folder / "plan.json").read_text(encoding="utf-8"))
    return push(Push(run, plan.name, before.digest, chosen), options, reporter, stop)


def _present(inventory: Inventory) -> str:
    def ask(name: str) -> str | None:
        with open_session(inventory.server(name)) as session:
            return probe(session).digest

    digests = each(((target.name, target.name) for target in inventory.servers), ask)
    raise_errors(digests)
    found = set(digests.values())
    if len(found) != 1 or None in found:
        shown = ", ".join(f"{name} {str(digest or 'none')[:12]}" for name, digest in digests.items())
        raise Mismatch(
            f"the servers have different plans, expected the same on all: {shown}",
            code="rollback.different-plans",
            hint="`rbops apply` makes them equal",
        )
    return str(found.pop())


def previous_run(cluster: str, present: str, servers: list[str]) -> _Confirmed:
    """The last run confirmed on all of ``servers`` before the run that gave them plan ``present``.

    Mismatch (3) when the journal has none.
    """
    history = [run for run in _confirmed(cluster) if run.servers >= set(servers)]
    while history and history[-1].digest != present:
        history.pop()
    while history and history[-1].digest == present:
        history.pop()
    if not history:
        raise Mismatch(
            f"{cluster}: no configuration before {present[:12]} was confirmed from this machine",
            code="rollback.no-earlier-run",
            where=Where(file=str(runs_folder())),
            hint="`rbops apply` with the earlier spec goes back too",
        )
    return history[-1]


def _confirmed(cluster: str) -> list[_Confirmed]:
    """The confirmed runs of a cluster that pushed all, oldest first; a rollback is one too."""
    found = []
    for path in sorted(runs_folder().glob("*/result.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        whole = result.get("outcome") == "confirmed" and not result.get("partial")
        if whole and result.get("cluster") == cluster and (path.parent / "project").is_dir():
            found.append(_Confirmed(path.parent, result["digest"], frozenset(result["servers"])))
    return found
