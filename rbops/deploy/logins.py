"""How to log in to a server, from Ansible's variables of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbops.deploy.ssh.options import resolve
from rbops.deploy.ssh.target import CONNECT_TIMEOUT_S, Target
from rbops.errors import Mismatch, UsageError, Where

__all__ = ["connection_of", "field_of", "target_of", "text_of"]

_CONNECTIONS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})
_BUILTIN = ("ansible.builtin.", "ansible.legacy.")


def text_of(name: str, variables: Mapping[str, Any], *keys: str) -> str | None:
    """The first of the variables that is set, as text; UsageError when it is a template."""
    for key in keys:
        value = variables.get(key)
        if isinstance(value, Mapping):
            value = value.get("__ansible_unsafe")
        if value is None:
            continue
        text = str(value)
        if "{{" in text or "{%" in text:
            raise UsageError(
                "the value is a template, rbops evaluates none",
                code="inventory.template",
                where=field_of(name, key),
                hint="write the value itself",
            )
        return text
    return None


def target_of(name: str, variables: Mapping[str, Any]) -> Target:
    """How to reach the server ``name``. UsageError (2) for values that cannot be used, Mismatch (3) for no SSH."""
    _check_connection(name, variables)
    destination = _destination(name, variables)
    arguments = _arguments(name, variables)
    options = resolve(destination, arguments, name=name)
    become = (text_of(name, variables, "ansible_become") or "false").lower() in {"1", "on", "true", "yes"}
    return Target(
        name=name,
        host=options.host,
        port=options.port,
        user=options.user,
        key_files=options.key_files,
        known_hosts=options.known_hosts,
        become=become or options.user != "root",
        host_key_alias=options.host_key_alias,
        identities_only=options.identities_only,
        python=_interpreter(name, variables),
        connect_timeout_s=options.connect_timeout_s or CONNECT_TIMEOUT_S,
        password=text_of(name, variables, "ansible_password", "ansible_ssh_password", "ansible_ssh_pass"),
        become_password=text_of(name, variables, "ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
        destination=destination,
        arguments=tuple(arguments),
        client_only=options.client_only,
        jump=options.jump,
    )


def connection_of(name: str, variables: Mapping[str, Any]) -> str:
    """Its Ansible connection without the prefix of Ansible's own collection."""
    connection = text_of(name, variables, "ansible_connection") or "ssh"
    for prefix in _BUILTIN:
        connection = connection.removeprefix(prefix)
    return connection


def _check_connection(name: str, variables: Mapping[str, Any]) -> None:
    connection = connection_of(name, variables)
    if connection not in _CONNECTIONS:
        raise Mismatch(
            f"{connection!r} is not supported for servers, expected ssh",
            code="inventory.connection",
            where=field_of(name, "ansible_connection"),
        )


def _destination(name: str, variables: Mapping[str, Any]) -> str:
    host = text_of(name, variables, "ansible_host", "ansible_ssh_host") or name
    if host.startswith("-") or any(char.isspace() or not char.isprintable() for char in host):
        raise UsageError(
            f"{host!r} is not a valid address or host name",
            code="inventory.address",
            where=field_of(name, "ansible_host"),
        )
    return host


def _arguments(name: str, variables: Mapping[str, Any]) -> list[str]:
    """What ssh is given before the host; of an option that is there twice it takes the first."""
    arguments: list[str] = []
    known = text_of(name, variables, "rbops_known_hosts")
    if known:
        path = Path(known).expanduser()
        arguments += ["-o", f'UserKnownHostsFile="{path}"', "-o", "GlobalKnownHostsFile=none"]
    key = text_of(name, variables, "ansible_ssh_private_key_file", "ansible_private_key_file")
    if key:
        if not Path(key).expanduser().is_file():
            raise UsageError(
                f"the private key file {key} does not exist",
                code="inventory.key-file",
                where=field_of(name, "ansible_ssh_private_key_file"),
            )
        arguments += ["-i", key]
    for flag, keys in (("-p", ("ansible_port", "ansible_ssh_port")), ("-l", ("ansible_user", "ansible_ssh_user"))):
        value = text_of(name, variables, *keys)
        if value:
            arguments += [flag, value]
    for argument in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        text = text_of(name, variables, argument) or ""
        try:
            arguments += shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is not valid shell syntax: {error}",
                code="inventory.ssh-arguments",
                where=field_of(name, argument),
            ) from error
    return arguments


def field_of(name: str, key: str) -> Where:
    """A variable of a host as the place of an error."""
    return Where(file="inventory", field=f"{name}.{key}")


def _interpreter(name: str, variables: Mapping[str, Any]) -> str:
    value = text_of(name, variables, "ansible_python_interpreter")
    return value if value and not value.startswith("auto") else "python3"
