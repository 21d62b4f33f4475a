"""rbops-node on a server, called over SSH."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rbops.deploy.ssh import Completed, Conversation, Session, in_time
from rbops.errors import Mismatch, RbopsError, StateUnknown, Unreachable, Where, error_from_json
from rbops.node.start import FOLDER as COMPILED

__all__ = ["INSTALLED", "RemoteNode", "ServedNode", "stage", "unstage"]

INSTALLED = "/usr/sbin/rbops-node"
VERB_TIMEOUT_S = 60.0
# Files come with it, and a snapshot of the whole server is its first work: an emulated machine took 58 s.
_STAGED_TIMEOUT_S = 120.0
REVERT_WAIT_S = 300.0

_NO_PYTHON = 127
_USAGE = 2
_SERVES_S, _GRACE_S = 86400.0, 10.0
_NOT_STAGED = 97


class RemoteNode:
    """The node program at ``program`` on the server of ``session``; answers are its JSON."""

    __slots__ = ("_program", "_session")

    def __init__(self, session: Session, program: str = INSTALLED) -> None:
        self._session = session
        self._program = program

    @property
    def session(self) -> Session:
        """The login it is called over."""
        return self._session

    def call(self, verb: str, *arguments: str, timeout: float = VERB_TIMEOUT_S) -> Any:
        """Run a verb that succeeds with 0; raises what its exit code means, naming the server."""
        return self._answer(verb, self.run(verb, *arguments, timeout=timeout))

    def call_staged(self, folder: str, files: Mapping[str, bytes], verb: str, *arguments: str) -> Any:
        """As :meth:`call`, after what :func:`stage` does: one command in place of three."""
        done = _stage(self._session, folder, files, self._command(verb, *arguments))
        return self._answer(verb, done)

    def _answer(self, verb: str, done: Completed) -> Any:
        if done.returncode != 0:
            raise self.failure(verb, done)
        return self._json(verb, done)

    def diff(self, *arguments: str) -> list[dict[str, str]]:
        """What ``apply`` would change; empty when nothing differs."""
        done = self.run("diff", *arguments)
        if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout.strip()):
            raise self.failure("diff", done)
        found: list[dict[str, str]] = self._json("diff", done)
        return found

    def run(self, verb: str, *arguments: str, timeout: float = VERB_TIMEOUT_S) -> Completed:
        """How a verb ended, and what it printed; raises what :meth:`Session.run` does."""
        return self._session.run(self._command(verb, *arguments), timeout)

    def _command(self, verb: str, *arguments: str) -> list[str]:
        return [self._session.target.python, self._program, verb, "--json", *arguments]

    def _json(self, verb: str, done: Completed) -> Any:
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise StateUnknown(
                f"rbops-node {verb} printed no JSON: {done.reason}",
                code="remote.output",
                where=self._session.target.where,
            ) from error

    def failure(self, verb: str, done: Completed) -> RbopsError:
        """The error that rbops-node printed, with the server as its place; StateUnknown when it printed none."""
        target = self._session.target
        if done.returncode == _NO_PYTHON:
            return Unreachable(f"{target.python} is not installed", code="remote.no-python", where=target.where)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        try:
            return error_from_json(json.loads(lines[-1])["error"], target.name)
        except (ValueError, LookupError, TypeError):
            text = "\n".join(lines[-5:]) or done.reason
            return StateUnknown(f"rbops-node {verb}: {text}", code="remote.failed", where=target.where)


class ServedNode(RemoteNode):
    """The same by one process that stays until :meth:`close`: for many calls, as most of the time of one is its start.

    Where the server's rbops-node is older and cannot serve, or its sshd allows one command at a time, each call is a
    process of its own.
    """

    __slots__ = ("_alone", "_conversation")

    def __init__(self, session: Session, program: str = INSTALLED) -> None:
        super().__init__(session, program)
        self._conversation: Conversation | None = None
        self._alone = False
        session.spare = self._give_up

    def _give_up(self) -> None:
        self._alone, self._session.spare = True, None
        self.close()

    def close(self) -> None:
        """End the process; another call starts one again."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            with suppress(RbopsError):
                conversation.finish(_GRACE_S)

    def run(self, verb: str, *arguments: str, timeout: float = VERB_TIMEOUT_S) -> Completed:
        """As a process of its own would have ended."""
        if self._alone:
            return super().run(verb, *arguments, timeout=timeout)
        conversation = self._conversation or self._session.start(
            [self._session.target.python, self._program, "serve"], _SERVES_S
        )
        self._conversation = conversation
        question = {"argv": [verb, "--json", *arguments], "timeout": math.ceil(timeout)}
        conversation.send(json.dumps(question))
        line = conversation.receive(timeout + _GRACE_S)
        if line is None:
            return self._ended(conversation, verb, *arguments, timeout=timeout)
        answer = json.loads(line)
        done = Completed(answer["code"], answer["out"], answer["err"])
        return in_time(self._session.target, f"rbops-node {verb}", done, timeout)

    def _ended(self, conversation: Conversation, verb: str, *arguments: str, timeout: float) -> Completed:
        """The same by a process of its own, which says it too where the login is lost."""
        self._conversation = None
        done = None
        with suppress(Unreachable):
            done = conversation.finish(_GRACE_S)
        if done is not None and done.returncode != _USAGE:
            raise self.failure(verb, done)
        self._alone = True
        return super().run(verb, *arguments, timeout=timeout)


def stage(session: Session, folder: str, files: Mapping[str, bytes]) -> None:
    """Put private files into a folder of the server's memory (below /run); Mismatch (3) when they cannot be there."""
    _stage(session, folder, files, ["true"])


def _stage(session: Session, folder: str, files: Mapping[str, bytes], command: Sequence[str]) -> Completed:
    """The files, then the result of a command."""
    script = f'umask 077; mkdir -p "$0" && tar -xf - -C "$0" || exit {_NOT_STAGED}; exec "$@"'
    done = session.run(["sh", "-c", script, folder, *command], _STAGED_TIMEOUT_S, _archive(files))
    if done.returncode == _NOT_STAGED:
        raise Mismatch(
            f"cannot write the files: {done.reason}",
            code="remote.stage",
            where=Where(server=session.target.name, file=folder),
        )
    return done


def _archive(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def unstage(session: Session, folder: str) -> None:
    """Remove what :func:`stage` made, and what the node program kept in memory where it is not installed."""
    script = f'rm -rf -- "$0"; [ -e {INSTALLED} ] || rm -rf {COMPILED}'
    session.run(["sh", "-c", script, folder], VERB_TIMEOUT_S)
