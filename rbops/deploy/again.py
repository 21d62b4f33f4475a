"""A push of what the servers have already: the configuration takes effect without Ansible, which would find just that.

Each server compares its files and packages with the planned ones and, where all are there, does what the role
``activate`` does. Anything that is not there, on any server, is for the play.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from rbops.common.daemons import PROGRAMS
from rbops.dataplane import registry
from rbops.deploy.events import TaskEvent
from rbops.deploy.keys import Keys
from rbops.deploy.probe import Probe
from rbops.deploy.runner import PlayOptions, PlayResult
from rbops.deploy.ssh import Session
from rbops.errors import ApplyFailed
from rbops.node.settings import Note
from rbops.render import places, unplanned
from rbops.resources import shared

if TYPE_CHECKING:
    from rbops.deploy.apply import Push
    from rbops.deploy.report import Reporter
    from rbops.deploy.transaction import Transaction

__all__ = ["activate", "all_there"]

_TIMEOUT_S = 600.0
_ROLE, _TASK = "activate", "The configuration takes effect"
_PROGRAM = ("playbooks", "library", "rbops_push.py")
_PACKAGES = ("roles", "packages", "defaults", "main.yml")
_START = "import sys; exec(compile(sys.stdin.buffer.read({}), 'rbops_push', 'exec'))"


def all_there(what: Push, before: Iterable[Probe], keys: Mapping[str, tuple[Keys, ...]], options: PlayOptions) -> bool:
    """Whether every server had all files of this push when it was reached, and its options ask for nothing else."""
    kind = what.plan.forwarding.dataplane
    if options.tags or options.skip_tags or options.extra_vars or registry.controller(kind).compiles:
        return False
    return all(_has_all(what, kind, found, keys.get(found.name, ())) for found in before)


def _has_all(what: Push, kind: str, found: Probe, keys: Iterable[Keys]) -> bool:
    own = tuple(keys)
    wanted = {file.path: (oct(file.mode), file.sha256) for file in what.rendered.files_of(found.name)}
    return (
        all(found.files.get(path) == file for path, file in wanted.items())
        and not unplanned(kind, {*wanted, *(each.path for each in own)}, found.files)
        and not any(each.difference(found.files) for each in own)
    )


def activate(what: Push, change: Transaction, reporter: Reporter) -> PlayResult | None:
    """Have every server do so at once, within the open change; None where the play has to do it after all.

    Raises ApplyFailed (5) when one fails.
    """
    start = time.monotonic()
    answers = change.call(lambda session: _ask(what, session))
    failed = {name: str(answer.get("msg")) for name, answer in answers.items() if answer.get("failed")}
    for name, answer in answers.items():
        status = "failed" if name in failed else "changed" if answer.get("changes") else "ok"
        if not answer.get("absent"):
            what.run.note("task", host=name, task=f"{_ROLE}: {_TASK}", status=status, message=failed.get(name, ""))
            reporter.task(TaskEvent(name, _TASK, status, failed.get(name, ""), role=_ROLE))  # type: ignore[arg-type]
    if failed:
        lines = [f"{name}: {_ROLE}: {_TASK}: {message}" for name, message in failed.items()]
        raise ApplyFailed("\n".join(lines), code="apply.play")
    if any(answer["absent"] for answer in answers.values()):
        what.run.note("left to the play", absent={name: answer["absent"] for name, answer in answers.items()})
        return None
    return PlayResult(
        outcome="successful",
        changed={name: 1 for name, answer in answers.items() if answer["changes"]},
        failures=(),
        output=what.run.folder,
        seconds=time.monotonic() - start,
        notes={name: tuple(Note(**note) for note in answer["unsupported"]) for name, answer in answers.items()},
        played=False,
    )


def _ask(what: Push, session: Session) -> dict[str, Any]:
    """One server's answer."""
    files = what.rendered.files_of(session.target.name)
    keep = [file.path for file in files]
    daemons = [kind for kind in PROGRAMS.values() if kind.config in keep]
    request = {
        "step": "again",
        "run": what.run.id,
        "files": [{"dest": file.path, "mode": f"0{file.mode:o}", "sha256": file.sha256} for file in files],
        "names": [*_packages(), *(package for kind in daemons for package in kind.packages)],
        "clean": places(what.plan.forwarding.dataplane),
        "keep": [*keep, *(kind.keys for kind in daemons)],
        "sizes": [],
    }
    program = shared(*_PROGRAM).read_bytes()
    command = [session.target.python, "-I", "-c", _START.format(len(program))]
    done = session.run(command, _TIMEOUT_S, b"".join([program, json.dumps(request).encode(), b"\n"]))
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"failed": True, "msg": f"the server's part ended with {done.returncode}: {done.reason}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _packages() -> list[str]:
    return list(yaml.safe_load(shared(*_PACKAGES).read_text(encoding="utf-8"))["packages_names"])
