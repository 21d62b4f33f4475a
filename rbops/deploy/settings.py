"""The user's own Ansible settings that decide how servers are logged in to: ansible.cfg and ``ANSIBLE_*`` variables.

Ansible itself says what is set (``ansible-config dump``), wherever it comes from. Everything else in them, such as
verbosity, colours and callbacks, changes nothing of what rbops does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import UsageError

__all__ = ["Settings", "environment", "read_settings"]

_TIMEOUT_S = 60.0

# A listing must not be mixed with what a person would like to read.
_QUIET = {
    "ANSIBLE_VERBOSITY": "0",
    "ANSIBLE_DEBUG": "0",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is set, and nothing where Ansible's default applies. Variables of a host come before these."""

    remote_user: str | None = None
    remote_port: str | None = None
    private_key_file: str | None = None
    ssh_args: str | None = None
    ssh_common_args: str | None = None
    ssh_extra_args: str | None = None
    ssh_executable: str | None = None
    timeout: str | None = None
    transport: str | None = None
    become: bool = False
    become_method: str | None = None
    become_user: str | None = None
    become_exe: str | None = None
    become_flags: str | None = None
    become_password_file: str | None = None
    connection_password_file: str | None = None
    ask_pass: bool = False
    become_ask_pass: bool = False
    ask_vault_pass: bool = False
    vault_sources: tuple[str, ...] = ()


def environment() -> dict[str, str]:
    """The environment for Ansible's listing programs: the user's, without what would be mixed into their output."""
    return {**os.environ, **_QUIET}


def read_settings() -> Settings:
    """Ask Ansible for what is set; nothing is asked where there is neither a configuration file nor a variable.

    Raises UsageError (2) with Ansible's words when the configuration cannot be read.
    """
    if not _anything():
        return Settings()
    command = [sys.executable, "-m", "ansible.cli.config", "dump", "--only-changed", "--format", "json", "-t", "all"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            env=environment(),
            check=False,
            stdin=subprocess.DEVNULL,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        found, done = None, subprocess.CompletedProcess(command, 1, "", "it gave no answer")
    if found is None:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            f"ansible-config cannot read the configuration: {lines[-1] if lines else 'no reason given'}",
            code="settings.unreadable",
            hint="`ansible-config dump` shows it: ansible.cfg and the ANSIBLE_* variables",
        )
    return _settings(found)


def _anything() -> bool:
    files = (Path("ansible.cfg"), Path("~/.ansible.cfg").expanduser(), Path("/etc/ansible/ansible.cfg"))
    return any(name.startswith("ANSIBLE_") for name in os.environ) or any(path.is_file() for path in files)


def _settings(found: list[Mapping[str, Any]]) -> Settings:
    base = {entry["name"]: entry["value"] for entry in found if "name" in entry}
    ssh = _plugin(found, "CONNECTION_PLUGINS", "ssh")
    sudo = _plugin(found, "BECOME_PLUGINS", "sudo")
    sources = [*(base.get("DEFAULT_VAULT_IDENTITY_LIST") or ()), base.get("DEFAULT_VAULT_PASSWORD_FILE")]
    return Settings(
        remote_user=_text(base.get("DEFAULT_REMOTE_USER") or ssh.get("remote_user")),
        remote_port=_text(base.get("DEFAULT_REMOTE_PORT") or ssh.get("port")),
        private_key_file=_text(base.get("DEFAULT_PRIVATE_KEY_FILE") or ssh.get("private_key_file")),
        ssh_args=_text(ssh.get("ssh_args")),
        ssh_common_args=_text(ssh.get("ssh_common_args")),
        ssh_extra_args=_text(ssh.get("ssh_extra_args")),
        ssh_executable=_text(ssh.get("ssh_executable")),
        timeout=_text(ssh.get("timeout") or base.get("DEFAULT_TIMEOUT")),
        transport=_text(base.get("DEFAULT_TRANSPORT")),
        become=bool(base.get("DEFAULT_BECOME")),
        become_method=_text(base.get("DEFAULT_BECOME_METHOD")),
        become_user=_text(base.get("DEFAULT_BECOME_USER") or sudo.get("become_user")),
        become_exe=_text(sudo.get("become_exe") or base.get("DEFAULT_BECOME_EXE")),
        become_flags=_text(sudo.get("become_flags") or base.get("DEFAULT_BECOME_FLAGS")),
        become_password_file=_text(base.get("BECOME_PASSWORD_FILE")),
        connection_password_file=_text(base.get("CONNECTION_PASSWORD_FILE")),
        ask_pass=bool(base.get("DEFAULT_ASK_PASS")),
        become_ask_pass=bool(base.get("DEFAULT_BECOME_ASK_PASS")),
        ask_vault_pass=bool(base.get("DEFAULT_ASK_VAULT_PASS")),
        vault_sources=tuple(str(source) for source in sources if source),
    )


def _plugin(found: list[Mapping[str, Any]], kind: str, name: str) -> dict[str, Any]:
    for entry in found:
        for plugin in entry.get(kind, ()):
            if name in plugin:
                return {option["name"]: option["value"] for option in plugin[name]}
    return {}


def _text(value: object) -> str | None:
    return None if value in {None, ""} else str(value)
