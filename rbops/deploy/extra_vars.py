"""``-e`` as Ansible takes it, turned into a file of inert values.

``key=value ...``, a YAML or JSON mapping, or ``@FILE``. Every text is marked ``!unsafe``: a template in
it is never evaluated. In a file, not in argv, where every user of the machine could read it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from rbops.deploy.logins import LOGIN_VARIABLES
from rbops.deploy.unsafe_yaml import dump_unsafe, load_plain, opened
from rbops.deploy.vault import Vault, is_vaulted
from rbops.errors import UsageError, Where

__all__ = ["extra_vars", "extra_vars_yaml"]


def extra_vars(arguments: Iterable[str], vault: Vault) -> dict[str, Any]:
    """The variables of all ``-e`` arguments, later ones winning. UsageError for invalid ones."""
    values: dict[str, Any] = {}
    for argument in arguments:
        values |= _parse(argument, vault)
    return values


def extra_vars_yaml(arguments: Iterable[str], vault: Vault) -> str:
    """The same as YAML for Ansible, without what says how to log in: that is worked out for every host."""
    values = opened(extra_vars(arguments, vault), vault)
    return dump_unsafe({key: value for key, value in values.items() if key not in LOGIN_VARIABLES})


def _parse(argument: str, vault: Vault) -> dict[str, Any]:
    text = argument.strip()
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(str(error), code="extra-vars.file", where=f"-e {argument}") from error
        plain = vault.decrypt(content, Where(file=str(path))) if is_vaulted(content) else content
        return _mapping(plain, f"-e {argument}")
    if text.startswith(("{", "[")):
        return _mapping(text, "-e")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(str(error), code="extra-vars.syntax", where=f"-e {argument}") from error
    pairs = [word.partition("=") for word in words]
    if not pairs or not all(separator and key.isidentifier() for key, separator, _ in pairs):
        raise UsageError(
            "not valid variables, expected key=value, a YAML mapping in {...}, or @FILE",
            code="extra-vars.syntax",
            where=f"-e {argument}",
        )
    return {key: value for key, _, value in pairs}


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        value = load_plain(text)
    except yaml.YAMLError as error:
        raise UsageError(f"not valid YAML: {error}", code="extra-vars.yaml", where=where) from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError("expected a mapping of names to values", code="extra-vars.mapping", where=where)
    return value
