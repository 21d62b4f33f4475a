"""Carries out actions: commands, ``ip -batch`` lines together, writes."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from itertools import groupby

from rbops.errors import CheckFailed, Where
from rbops.node import tunnels
from rbops.node.settings import Action, Ip, Nft, Put, Run, Write, Xfrm
from rbops.node.system import Done, System, unsupported

__all__ = ["NotSupported", "execute", "undo"]

_GONE = (
    "cannot find device", "cannot find specified", "cannot assign requested address",
    "no such", "not exist", "doesn't exist", "not found",
)  # fmt: skip


# The kernel keeps the wish and grants it later: a veth has no TSO while the other end has an XDP program.
_WANTED = "could not change any device features"


class NotSupported(CheckFailed):
    """The driver or the kernel has no such operation."""


def execute(system: System, actions: Iterable[Action]) -> None:
    """Carry out actions in order, neighbouring ``ip`` lines in one process.

    Raises NotSupported when the driver cannot, CheckFailed (1) with command and answer when it fails.
    """
    for batch in _batches(actions):
        first = batch[0]
        if isinstance(first, Ip):
            _batch(system, [action.line for action in batch if isinstance(action, Ip)])
        elif isinstance(first, Run):
            _report(system.run(first.argv), " ".join(first.argv))
        elif isinstance(first, Nft):
            _report(system.run(("nft", "-f", "-"), first.text), "nft -f -")
        elif isinstance(first, Xfrm):
            tunnels.carry_out(first.text)
        elif isinstance(first, Put):
            _put(system, first)
        else:
            _write(system, first)


def undo(system: System, actions: Iterable[Action]) -> list[str]:
    """Carry out undo actions as far as possible; what is gone already is done. Returns what failed."""
    failures = []
    for action in actions:
        try:
            execute(system, [action])
            _took_effect(system, action)
        except CheckFailed as error:
            if not any(word in str(error).lower() for word in (*_GONE, _WANTED)):
                failures.append(str(error))
    return failures


def _took_effect(system: System, action: Action) -> None:
    """Read a kernel parameter back: verification against the plan skips those that are no longer planned."""
    if not isinstance(action, Write) or not action.path.startswith("/proc/sys/"):
        return
    found = system.read(action.path)
    if found is not None and found.split() != action.value.split():
        text = f"writing {action.value!r} to {action.path} had no effect: it is {found.strip()!r}"
        raise CheckFailed(text, code="node.write")


def _batches(actions: Iterable[Action]) -> Iterator[list[Action]]:
    for are_lines, group in groupby(actions, key=lambda action: isinstance(action, Ip)):
        if are_lines:
            yield list(group)
        else:
            for action in group:
                yield [action]


def _batch(system: System, lines: list[str]) -> None:
    done = system.run(("ip", "-batch", "-"), "".join(f"{line}\n" for line in lines))
    if done.returncode == 0:
        return
    # iproute2 names the line: `Command failed -:12`.
    _, _, number = done.stderr.rpartition("Command failed -:")
    place = number.split()[0] if number.split() else ""
    line = lines[int(place) - 1] if place.isdigit() and 0 < int(place) <= len(lines) else f"{len(lines)} lines"
    _report(done, f"ip {line}")


def _report(done: Done, what: str) -> None:
    if done.returncode == 0:
        return
    detail = " ".join(done.stderr.split()) or f"exit {done.returncode}"
    if unsupported(done):
        raise NotSupported(f"{what}: {detail}", code="node.not-supported")
    raise CheckFailed(f"{what}: {detail}", code="node.command")


def _put(system: System, action: Put) -> None:
    try:
        system.put(action.path, action.text)
    except OSError as error:
        raise CheckFailed(
            f"cannot {'remove' if action.text is None else 'write'} the file: {error}",
            code="node.write",
            where=Where(file=action.path),
        ) from error


def _write(system: System, action: Write) -> None:
    try:
        system.write(action.path, action.value)
    except OSError as error:
        text = f"writing {action.value!r} to {action.path}: {error.strerror}"
        if error.errno == errno.EOPNOTSUPP:
            raise NotSupported(text, code="node.not-supported") from error
        # A managed interrupt cannot be moved: the kernel answers EIO to its affinity (kernel/irq/proc.c).
        if error.errno == errno.EIO and action.path.startswith("/proc/irq/"):
            raise NotSupported(f"{text}: the kernel manages this interrupt", code="node.not-supported") from error
        raise CheckFailed(text, code="node.write") from error
