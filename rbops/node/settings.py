"""A setting as it is and as planned, and the exact actions between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Action",
    "Ip",
    "Nft",
    "Note",
    "Put",
    "Run",
    "Setting",
    "Write",
    "Xfrm",
    "action_from_json",
    "action_to_json",
    "differing",
]


@dataclass(frozen=True, slots=True)
class Run:
    """One command, as an argument list."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ip:
    """One line for ``ip -batch``: neighbours of each other in a list share a process."""

    line: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a file of /sys or /proc that exists already."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Put:
    """A whole file of the server's configuration; ``text`` None removes it."""

    path: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Nft:
    """A text for ``nft -f``, carried out as a whole or not at all."""

    text: str


@dataclass(frozen=True, slots=True)
class Xfrm:
    """A change of the kernel's IPsec, as JSON (``tunnels.py``); keys are in their file, never in it."""

    text: str


Action = Run | Ip | Write | Put | Nft | Xfrm


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that the plan says about this server.

    ``subject`` is what it belongs to (``port ext0``, ``sysctl``), ``name`` the setting. ``actions``
    lead from ``have`` to ``want``; ``undo`` leads back to what was there before rbops first came.
    ``unsupported`` says why this device cannot have it: such a setting is reported, not a difference.
    ``tuning``: packets are forwarded without it too, so that a driver which refuses it is reported and
    does not fail the change.
    """

    subject: str
    name: str
    have: str
    want: str
    actions: tuple[Action, ...] = ()
    undo: tuple[Action, ...] = ()
    unsupported: str | None = None
    tuning: bool = False

    @property
    def differs(self) -> bool:
        """Whether something has to be done, and can be."""
        return self.have != self.want and self.unsupported is None

    @property
    def key(self) -> str:
        """The setting's identity over time."""
        return f"{self.subject}\t{self.name}"

    def to_json(self) -> dict[str, str]:
        """The form that ``diff`` and ``apply`` print."""
        return {"subject": self.subject, "setting": self.name, "have": self.have, "want": self.want}


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the operator that is not a difference: an unsupported setting, a risk."""

    subject: str
    setting: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """The form that ``apply`` prints."""
        return {"subject": self.subject, "setting": self.setting, "reason": self.reason}


def differing(settings: list[Setting]) -> list[Setting]:
    """Those that have to be changed, in order."""
    return [setting for setting in settings if setting.differs]


def action_to_json(action: Action) -> dict[str, Any]:
    """The stored form of an action, for the undo file."""
    if isinstance(action, Run):
        return {"run": list(action.argv)}
    if isinstance(action, Ip):
        return {"ip": action.line}
    if isinstance(action, Nft):
        return {"nft": action.text}
    if isinstance(action, Xfrm):
        return {"xfrm": action.text}
    if isinstance(action, Put):
        return {"put": action.path, "text": action.text}
    return {"write": action.path, "value": action.value}


def action_from_json(value: dict[str, Any]) -> Action:
    """The inverse of :func:`action_to_json`; ValueError for anything else."""
    match value:
        case {"run": [*argv]}:
            return Run(tuple(str(word) for word in argv))
        case {"nft": str(text)}:
            return Nft(text)
        case {"xfrm": str(text)}:
            return Xfrm(text)
        case {"ip": str(line)}:
            return Ip(line)
        case {"write": str(path), "value": str(text)}:
            return Write(path, text)
        case {"put": str(path), "text": str() | None as text}:
            return Put(path, text)
        case _:
            raise ValueError(f"not an action: {value!r}")
