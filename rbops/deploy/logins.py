"""How to log in to a server, from Ansible's variables of it, its settings, and the passwords that were given.

Variables come before ansible.cfg, and that before ssh_config(5), as in Ansible. What Ansible's run is given
(:func:`variables_for_ansible`) is worked out here too, so that both log in alike.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.deploy.credentials import Credentials
from rbops.deploy.settings import Settings
from rbops.deploy.ssh.options import resolve
from rbops.deploy.ssh.target import CONNECT_TIMEOUT_S, Target
from rbops.errors import Mismatch, UsageError, Where

__all__ = ["LOGIN_VARIABLES", "Means", "connection_of", "field_of", "target_of", "text_of", "variables_for_ansible"]

_CONNECTIONS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})
_BUILTIN = ("ansible.builtin.", "ansible.legacy.")
_SSH_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_KEYS = ("ansible_ssh_private_key_file", "ansible_private_key_file")
_USERS = ("ansible_user", "ansible_ssh_user")
_PORTS = ("ansible_port", "ansible_ssh_port")
_TIMEOUTS = ("ansible_ssh_timeout", "ansible_timeout")
_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
_BECOME_USERS = ("ansible_become_user", "ansible_sudo_user")
_BECOME_EXES = ("ansible_become_exe", "ansible_sudo_exe")
_BECOME_FLAGS = ("ansible_become_flags", "ansible_sudo_flags")
_YES = frozenset({"1", "on", "true", "yes", "y", "t"})

# Ansible has them and rbops would have to take them to its own logins too.
_UNSUPPORTED = {
    "ansible_private_key": "write the key to a file: ansible_ssh_private_key_file",
    "ansible_ssh_private_key": "write the key to a file: ansible_ssh_private_key_file",
    "ansible_private_key_passphrase": "add the key to an agent with ssh-add",
    "ansible_ssh_private_key_passphrase": "add the key to an agent with ssh-add",
    "ansible_ssh_pkcs11_provider": "write PKCS11Provider into ~/.ssh/config or ansible_ssh_common_args",
}

LOGIN_VARIABLES = frozenset(
    {
        "rbops_known_hosts",
        "ansible_become",
        "ansible_become_method",
        "ansible_ssh_executable",
        *_SSH_ARGUMENTS,
        *_KEYS,
        *_USERS,
        *_PORTS,
        *_TIMEOUTS,
        *_PASSWORDS,
        *_BECOME_PASSWORDS,
        *_BECOME_USERS,
        *_BECOME_EXES,
        *_BECOME_FLAGS,
    }
)
"""What :func:`target_of` works out of, and :func:`variables_for_ansible` says anew."""


@dataclass(frozen=True, slots=True)
class Means:
    """What holds for all hosts: the user's Ansible settings and the passwords that were given."""

    settings: Settings = field(default_factory=Settings)
    credentials: Credentials = field(default_factory=Credentials)


def text_of(name: str, variables: Mapping[str, Any], *keys: str, means: Means | None = None) -> str | None:
    """The first of the variables that is set, as text, decrypted where it is vaulted.

    UsageError when it is a template, or no password decrypts it.
    """
    for key in keys:
        value = variables.get(key)
        vaulted = isinstance(value, Mapping) and "__ansible_vault" in value
        if isinstance(value, Mapping):
            value = value.get("__ansible_unsafe", value.get("__ansible_vault"))
        if value is None:
            continue
        text = str(value)
        if vaulted:
            text = (means or Means()).credentials.vault.decrypt(text, field_of(name, key))
        if "{{" in text or "{%" in text:
            raise UsageError(
                "the value is a template, rbops evaluates none",
                code="inventory.template",
                where=field_of(name, key),
                hint="write the value itself",
            )
        return text
    return None


def target_of(name: str, variables: Mapping[str, Any], means: Means | None = None) -> Target:
    """How to reach the server ``name``. UsageError (2) for values that cannot be used, Mismatch (3) for no SSH."""
    means = means or Means()
    _check_supported(name, variables, means)
    destination = _destination(name, variables, means)
    arguments = _arguments(name, variables, means)
    options = resolve(destination, arguments, name=name)
    become = options.user != "root" or _becomes(name, variables, means)
    timeout = text_of(name, variables, *_TIMEOUTS, means=means) or means.settings.timeout
    return Target(
        name=name,
        host=options.host,
        port=options.port,
        user=options.user,
        key_files=options.key_files,
        known_hosts=options.known_hosts,
        become=become,
        host_key_alias=options.host_key_alias,
        identities_only=options.identities_only,
        python=_interpreter(name, variables, means),
        connect_timeout_s=options.connect_timeout_s or _seconds(timeout) or CONNECT_TIMEOUT_S,
        password=_password(name, variables, means),
        become_password=_become_password(name, variables, means) if become else None,
        become_with=_become_with(name, variables, means),
        destination=destination,
        arguments=tuple(arguments),
        client_only=options.client_only,
        jump=options.jump,
    )


def variables_for_ansible(target: Target, variables: Mapping[str, Any], means: Means | None = None) -> dict[str, Any]:
    """The host's variables for Ansible's run: its own, and the login that :func:`target_of` has worked out.

    Texts with passwords are in it: see :attr:`Inventory.secret`.
    """
    means = means or Means()
    kept = {key: value for key, value in variables.items() if key not in LOGIN_VARIABLES}
    exe, *flags = target.become_with
    found: dict[str, Any] = {
        **kept,
        "ansible_host": target.destination,
        # ssh takes the first of an option that is there twice, and Ansible puts its own before these.
        "ansible_ssh_common_args": shlex.join(target.arguments),
        # rbops needs root on a server: by sudo unless the login is root already.
        "ansible_become": target.become,
        "ansible_become_method": "sudo",
        "ansible_become_user": "root",
    }
    if "ansible_connection" not in kept and means.settings.transport:
        found["ansible_connection"] = means.settings.transport
    if target.connect_timeout_s != CONNECT_TIMEOUT_S:
        found["ansible_timeout"] = int(target.connect_timeout_s)
    if connection_of(target.name, found).startswith("paramiko"):
        # Ansible's paramiko reads nothing of ssh's own settings.
        found |= {"ansible_host": target.host, "ansible_port": target.port, "ansible_user": target.user}
        found |= {"ansible_private_key_file": str(target.key_files[0])} if target.key_files else {}
    if exe != "sudo":
        found["ansible_become_exe"] = exe
    if flags:
        found["ansible_become_flags"] = shlex.join(["-H", "-S", "-n", *flags])
    if target.password is not None:
        found["ansible_password"] = target.password
    if target.become_password is not None:
        found["ansible_become_password"] = target.become_password
    return found


def connection_of(name: str, variables: Mapping[str, Any], means: Means | None = None) -> str:
    """Its Ansible connection without the prefix of Ansible's own collection."""
    connection = text_of(name, variables, "ansible_connection", means=means)
    connection = connection or (means or Means()).settings.transport or "ssh"
    for prefix in _BUILTIN:
        connection = connection.removeprefix(prefix)
    return connection


def _check_supported(name: str, variables: Mapping[str, Any], means: Means) -> None:
    connection = connection_of(name, variables, means)
    if connection not in _CONNECTIONS:
        raise Mismatch(
            f"{connection!r} is not supported for servers, expected ssh",
            code="inventory.connection",
            where=field_of(name, "ansible_connection"),
        )
    for key, instead in _UNSUPPORTED.items():
        if variables.get(key) is not None:
            raise UsageError(
                "the variable is not supported", code="inventory.unsupported", where=field_of(name, key), hint=instead
            )
    method = text_of(name, variables, "ansible_become_method", means=means) or means.settings.become_method or "sudo"
    for prefix in _BUILTIN:
        method = method.removeprefix(prefix)
    if method != "sudo":
        raise Mismatch(
            f"{method!r} is not supported for becoming root, expected sudo",
            code="inventory.become-method",
            where=field_of(name, "ansible_become_method"),
        )
    user = text_of(name, variables, *_BECOME_USERS, means=means) or means.settings.become_user or "root"
    if user != "root":
        raise Mismatch(
            f"{user!r} is not root, which rbops needs to be on a server",
            code="inventory.become-user",
            where=field_of(name, "ansible_become_user"),
        )
    executable = text_of(name, variables, "ansible_ssh_executable", means=means) or means.settings.ssh_executable
    if executable and shutil.which(executable) != shutil.which("ssh"):
        raise UsageError(
            f"{executable} is not the ssh on PATH, which rbops and its run of Ansible use",
            code="inventory.ssh-executable",
            where=field_of(name, "ansible_ssh_executable"),
        )


def _destination(name: str, variables: Mapping[str, Any], means: Means) -> str:
    host = text_of(name, variables, "ansible_host", "ansible_ssh_host", means=means) or name
    if host.startswith("-") or any(char.isspace() or not char.isprintable() for char in host):
        raise UsageError(
            f"{host!r} is not a valid address or host name",
            code="inventory.address",
            where=field_of(name, "ansible_host"),
        )
    return host


def _arguments(name: str, variables: Mapping[str, Any], means: Means) -> list[str]:
    """What ssh is given before the host; of an option that is there twice it takes the first."""
    settings = means.settings
    arguments: list[str] = []
    known = text_of(name, variables, "rbops_known_hosts", means=means)
    if known:
        path = Path(known).expanduser()
        arguments += ["-o", f'UserKnownHostsFile="{path}"', "-o", "GlobalKnownHostsFile=none"]
    key = text_of(name, variables, *_KEYS, means=means) or settings.private_key_file
    if key:
        if not Path(key).expanduser().is_file():
            raise UsageError(
                f"the private key file {key} does not exist",
                code="inventory.key-file",
                where=field_of(name, "ansible_ssh_private_key_file"),
            )
        # ssh expands tokens with % in it; -i would not.
        escaped = os.path.expanduser(key).replace("%", "%%")  # noqa: PTH111 - Path would drop a leading ./
        arguments += ["-o", f'IdentityFile="{escaped}"']
    for flag, keys, usual in (("-p", _PORTS, settings.remote_port), ("-l", _USERS, settings.remote_user)):
        value = text_of(name, variables, *keys, means=means) or usual
        if value:
            arguments += [flag, value]
    usual_arguments = (settings.ssh_args, settings.ssh_common_args, settings.ssh_extra_args)
    for argument, default in zip(_SSH_ARGUMENTS, usual_arguments, strict=True):
        text = text_of(name, variables, argument, means=means)
        text = default or "" if text is None else text
        try:
            arguments += shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is not valid shell syntax: {error}",
                code="inventory.ssh-arguments",
                where=field_of(name, argument),
            ) from error
    return arguments


def _becomes(name: str, variables: Mapping[str, Any], means: Means) -> bool:
    said = text_of(name, variables, "ansible_become", means=means)
    return means.settings.become if said is None else said.lower() in _YES


def _password(name: str, variables: Mapping[str, Any], means: Means) -> str | None:
    return text_of(name, variables, *_PASSWORDS, means=means) or means.credentials.login


def _become_password(name: str, variables: Mapping[str, Any], means: Means) -> str | None:
    return text_of(name, variables, *_BECOME_PASSWORDS, means=means) or means.credentials.become


def _become_with(name: str, variables: Mapping[str, Any], means: Means) -> tuple[str, ...]:
    """Sudo and those of its flags that are not rbops's own to say (-S reads the password, -n asks for none)."""
    exe = text_of(name, variables, *_BECOME_EXES, means=means) or means.settings.become_exe or "sudo"
    flags = text_of(name, variables, *_BECOME_FLAGS, means=means) or means.settings.become_flags or ""
    words = []
    for word in shlex.split(flags):
        if word.startswith("-") and not word.startswith("--"):
            letters = word[1:].translate({ord(letter): None for letter in "SnH"})
            words += [f"-{letters}"] if letters else []
        else:
            words.append(word)
    return (*shlex.split(exe), *words)


def field_of(name: str, key: str) -> Where:
    """A variable of a host as the place of an error."""
    return Where(file="inventory", field=f"{name}.{key}")


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() and int(text) else None


def _interpreter(name: str, variables: Mapping[str, Any], means: Means) -> str:
    value = text_of(name, variables, "ansible_python_interpreter", means=means)
    return value if value and not value.startswith("auto") else "python3"
