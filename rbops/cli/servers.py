"""The options of every verb that reaches servers: inventories, limit and passwords, named as in Ansible.

A verb has one parameter ``servers: Servers``; :func:`reaches_servers` gives it the options instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

if TYPE_CHECKING:
    from rbops.deploy.inventory import Inventory

__all__ = ["Servers", "reaches_servers"]

Inventories = Annotated[
    list[str],
    typer.Option(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help="Ansible inventory of the servers. Several are merged.",
        show_default=False,
    ),
]
Limit = Annotated[
    str | None,
    typer.Option("-l", "--limit", metavar="PATTERN", help="Limit to these servers, an Ansible host pattern."),
]
AskPass = Annotated[bool, typer.Option("-k", "--ask-pass", help="Ask for the login password.")]
AskBecomePass = Annotated[bool, typer.Option("-K", "--ask-become-pass", help="Ask for sudo's password.")]
AskVaultPass = Annotated[
    bool,
    typer.Option("-J", "--ask-vault-pass", "--ask-vault-password", help="Ask for the vault password."),
]
BecomePasswordFile = Annotated[
    Path | None,
    typer.Option("--become-password-file", metavar="FILE", help="File with sudo's password."),
]
ConnectionPasswordFile = Annotated[
    Path | None,
    typer.Option("--connection-password-file", metavar="FILE", help="File with the login password."),
]
VaultPasswordFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--vault-password-file",
        "--vault-pass-file",
        metavar="FILE",
        help="File with the vault password, or a program that prints it.",
    ),
]
VaultId = Annotated[
    list[str] | None,
    typer.Option("--vault-id", metavar="[LABEL@]SOURCE", help="Vault identity: a file, a program, or 'prompt'."),
]

_PARAMETER = "servers"
_FIRST: Mapping[str, tuple[Any, Any]] = {
    "inventory": (Inventories, inspect.Parameter.empty),
    "limit": (Limit, None),
}
_LAST: Mapping[str, tuple[Any, Any]] = {
    "ask_pass": (AskPass, False),
    "ask_become_pass": (AskBecomePass, False),
    "ask_vault_pass": (AskVaultPass, False),
    "become_password_file": (BecomePasswordFile, None),
    "connection_password_file": (ConnectionPasswordFile, None),
    "vault_password_file": (VaultPasswordFile, None),
    "vault_id": (VaultId, None),
}


@dataclass(slots=True)
class Servers:
    """The servers that a command line names; they are read, and passwords asked for, at the first :meth:`load`."""

    inventories: Sequence[str]
    limit: str | None
    asking: Mapping[str, Any]
    _loaded: Inventory | None = field(default=None, init=False, repr=False)

    def load(self, extra: Sequence[str] = ()) -> Inventory:
        """Read the inventories as :func:`rbops.deploy.inventory.load_inventory` does, once."""
        from rbops.deploy.credentials import Asking
        from rbops.deploy.inventory import load_inventory

        if self._loaded is None:
            words = dict(self.asking)
            files = tuple(words.pop("vault_password_file") or ())
            asking = Asking(**words, vault_password_files=files)
            self._loaded = load_inventory(self.inventories, self.limit, asking, extra)
        return self._loaded


def reaches_servers(verb: Callable[..., None]) -> Callable[..., None]:
    """Give ``verb`` the options in place of its parameter ``servers``."""
    hints = get_type_hints(verb, include_extras=True)
    parameters = []
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name == _PARAMETER:
            parameters += [_option(name, *what) for name, what in _FIRST.items()]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    taken = {word for parameter in parameters for word in _words(parameter.annotation)}
    parameters += [_option(name, _without(annotation, taken), usual) for name, (annotation, usual) in _LAST.items()]

    @wraps(verb)
    def carry_out(**given: Any) -> None:
        asking = {name: given.pop(name) for name in _LAST}
        asking["vault_ids"] = tuple(asking.pop("vault_id") or ())
        servers = Servers(given.pop("inventory"), given.pop("limit"), asking)
        verb(**given, **{_PARAMETER: servers})

    # Typer reads the signature and the annotations.
    vars(carry_out).update(
        __signature__=inspect.Signature(sorted(parameters, key=lambda one: one.default is not inspect.Parameter.empty)),
    )
    carry_out.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return carry_out


def _words(annotation: Any) -> tuple[str, ...]:
    """The names of an option; Typer takes the first of them for a default until it sees that it is none."""
    found: list[object] = []
    for what in get_args(annotation)[1:]:
        found += [getattr(what, "default", None), *(getattr(what, "param_decls", None) or ())]
    return tuple(word for word in found if isinstance(word, str))


def _without(annotation: Any, taken: Collection[str]) -> Any:
    """The option without a short name that the verb has for something else."""
    names = tuple(word for word in _words(annotation) if word not in taken)
    kind, option = get_args(annotation)
    option = copy(option)
    option.default, option.param_decls = names[0], names[1:]
    return Annotated[kind, option]


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
