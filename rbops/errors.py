"""Every error a user can meet: what is wrong, where, what to do about it, and the exit code of the command.

    RbopsError                      70  a bug in rbops when raised as itself
    ├── CheckFailed                  1  a check, test or step did not pass
    ├── UsageError                   2  the command line cannot be carried out
    │   └── SpecError                2  the spec is not valid: a Diagnostic for each error
    ├── Mismatch                     3  servers or inventory do not match the plan; nothing was changed
    ├── Unreachable                  4  a server does not answer, or its identity is not the known one
    ├── ApplyFailed                  5  apply failed, every server was rolled back
    ├── StateUnknown                 6  the rollback failed too: an operator has to look at the servers named
    └── Locked                       7  another run holds the lock

``code`` (``area.reason``, lower case with hyphens) is the stable name of an error for scripts and for docs/errors.md:
it has one meaning, one exit code and one part of rbops that raises it. Messages may be reworded, codes may not.
``Where`` is the place, so that a message need not repeat it.

Imports nothing from rbops, so that every part may raise these; standard library only, as rbops-node runs on servers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    "Where",
    "error_from_json",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The place of an error, from the outside in; what does not apply is left out.

    ``server`` is a name of the plan, ``file`` a path on that server or, without one, on the controller; ``line`` and
    ``column`` count from 1; ``device`` is a network device, PCI address or queue; ``field`` a path in the spec or in a
    JSON document such as ``router.line_rate``.
    """

    server: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    device: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        """``n0: /etc/rbops/node.json:3:5: eth1``."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (self.server, place, self.device, self.field) if part)

    def to_json(self) -> dict[str, object]:
        """The parts that are known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class RbopsError(Exception):
    """The root of the tree: ``str(error)`` is the whole text for the user, ``where: message``.

    ``message`` says what is wrong and what was expected, without the place; ``hint`` what to do about it, for a line
    of its own; ``causes`` are the errors behind this one, such as each server's; ``exit_code`` is the command's.
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        code: str,
        where: Where | str | None = None,
        hint: str | None = None,
        causes: Sequence[RbopsError] = (),
    ) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint
        self.causes = tuple(causes)

    def to_json(self) -> dict[str, object]:
        """The form for ``--format json`` and between programs; ``causes`` only where there are any."""
        where = self.where.to_json() if isinstance(self.where, Where) else self.where
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "message": self.message,
            "where": where,
            "hint": self.hint,
            **({"causes": [cause.to_json() for cause in self.causes]} if self.causes else {}),
        }


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
    """Apply failed; every server was rolled back to its state before."""

    exit_code = 5


class StateUnknown(RbopsError):
    """The rollback failed too: the message names each server and what was left on it."""

    exit_code = 6


class Locked(RbopsError):
    """Another run holds the lock; the message names its holder, age and id."""

    exit_code = 7


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error in a spec or in a file that it names.

    ``line`` and ``column`` count from 1; ``snippet`` is the source line the caret points into
    (empty where there is none, as for a file that cannot be read); ``length`` is how many
    columns the caret underlines; ``hint`` is what to write instead; ``code`` as of ``RbopsError``;
    ``field`` is the path of the value in the file, such as ``router.line_rate`` (empty: the whole file).
    """

    path: str
    line: int
    column: int
    message: str
    hint: str | None = None
    snippet: str = ""
    length: int = 1
    code: str = dataclasses.field(kw_only=True)
    field: str = ""

    def render(self) -> str:
        """The diagnostic as ``file:line:column: message`` with caret and hint below."""
        lines = [f"{self.path}:{self.line}:{self.column}: {self.message}"]
        if self.snippet:
            pad = "".join("\t" if char == "\t" else " " for char in self.snippet[: self.column - 1])
            lines += [f"    {self.snippet}", f"    {pad}{'^' * max(1, self.length)}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """What a program needs: everything but the source line."""
        return {
            "code": self.code,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "field": self.field,
            "message": self.message,
            "hint": self.hint,
        }


class SpecError(UsageError):
    """The spec cannot be used; ``diagnostics`` holds every error in the order of the file."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = sorted(diagnostics, key=lambda item: (item.path, item.line, item.column))
        count = len(self.diagnostics)
        total = f"{count} error{'s' if count != 1 else ''}"
        super().__init__("\n".join([d.render() for d in self.diagnostics] + [total]), code="spec.invalid")
        self.message = total

    def to_json(self) -> dict[str, object]:
        """As of every error, with the diagnostics as ``errors``."""
        return {**super().to_json(), "errors": [item.to_json() for item in self.diagnostics]}


_BY_EXIT_CODE: Mapping[int, type[RbopsError]] = {
    kind.exit_code: kind for kind in (CheckFailed, UsageError, Mismatch, Unreachable, ApplyFailed, StateUnknown, Locked)
}


def error_from_json(value: Mapping[str, Any], server: str | None = None) -> RbopsError:
    """The error that ``to_json`` described, as another program raised it; ``server`` is where that program ran.

    A bug there (70) leaves its state unknown here. KeyError or TypeError when ``value`` is something else.
    """
    found = value["where"]
    where: Where | str | None = Where(**found) if isinstance(found, dict) else found
    if server is not None:
        where = Where(**{**found, "server": server}) if isinstance(found, dict) else Where(server=server, field=found)
    kind = _BY_EXIT_CODE.get(value["exit_code"], StateUnknown)
    return kind(str(value["message"]), code=str(value["code"]), where=where, hint=value["hint"])
