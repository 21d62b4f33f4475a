"""Every error a user can meet, and the exit code it ends the command with.

    RbopsError                      70  a bug in rbops when raised as itself
    ├── CheckFailed                  1  a check, test or step did not pass
    ├── UsageError                   2  the command line cannot be carried out
    │   └── SpecError                2  the spec is wrong: every mistake found, with its place
    ├── Mismatch                     3  servers or inventory do not match the plan
    ├── Unreachable                  4  a server does not answer, or answers as someone else
    ├── ApplyFailed                  5  apply failed and every server was put back
    ├── StateUnknown                 6  a person must look: what was left, and where
    └── Locked                       7  another operator is at work

Imports nothing from rbops, so that every part may raise these.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ApplyFailed",
    "CheckFailed",
    "Diagnostic",
    "Locked",
    "Mismatch",
    "RbopsError",
    "SpecError",
    "StateUnknown",
    "Unreachable",
    "UsageError",
]


class RbopsError(Exception):
    """The root of the tree: ``str(error)`` is the whole message for the user.

    ``hint`` says what to do about it, on a line of its own; ``exit_code`` is the command's.
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class CheckFailed(RbopsError):
    """A check, a test or a step did not pass."""

    exit_code = 1


class UsageError(RbopsError):
    """The command line asks for something that cannot be done."""

    exit_code = 2


class Mismatch(RbopsError):
    """Servers, NICs or the inventory are not what the plan needs; nothing was changed."""

    exit_code = 3


class Unreachable(RbopsError):
    """A server does not answer, or its identity is not the known one."""

    exit_code = 4


class ApplyFailed(RbopsError):
    """Apply failed; every server is as it was before."""

    exit_code = 5


class StateUnknown(RbopsError):
    """Putting back failed too: the message names each server and what was left there."""

    exit_code = 6


class Locked(RbopsError):
    """Another run holds the lock; the message names holder, age and run."""

    exit_code = 7


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake in a spec file.

    ``line`` and ``column`` count from 1; ``snippet`` is the source line the caret points into
    (empty where there is none, as for a file that cannot be read); ``length`` is how many
    columns the caret underlines; ``hint`` is what to write instead.
    """

    path: str
    line: int
    column: int
    message: str
    hint: str | None = None
    snippet: str = ""
    length: int = 1

    def render(self) -> str:
        """The diagnostic as ``file:line:column: message`` with caret and hint below."""
        lines = [f"{self.path}:{self.line}:{self.column}: {self.message}"]
        if self.snippet:
            pad = "".join("\t" if char == "\t" else " " for char in self.snippet[: self.column - 1])
            lines += [f"    {self.snippet}", f"    {pad}{'^' * max(1, self.length)}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


class SpecError(UsageError):
    """The spec cannot be used; ``diagnostics`` holds every mistake in the order of the file."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = sorted(diagnostics, key=lambda item: (item.path, item.line, item.column))
        count = len(self.diagnostics)
        total = f"{count} error{'s' if count != 1 else ''}"
        super().__init__("\n".join([d.render() for d in self.diagnostics] + [total]))
