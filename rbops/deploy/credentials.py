"""Passwords for logins, sudo and Ansible's vault: asked for once, then used for every connection."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rbops.deploy.settings import Settings
from rbops.deploy.vault import Vault, read_passwords
from rbops.errors import UsageError, Where

__all__ = ["Asking", "Credentials", "obtain"]


@dataclass(frozen=True, slots=True)
class Asking:
    """What the command line says about passwords, as the options of ``ansible-playbook`` of the same names."""

    ask_pass: bool = False
    ask_become_pass: bool = False
    become_password_file: Path | None = None
    connection_password_file: Path | None = None
    ask_vault_pass: bool = False
    vault_password_files: tuple[Path, ...] = ()
    vault_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The passwords. ``login`` and ``become`` are for hosts whose variables have none of their own."""

    login: str | None = field(default=None, repr=False)
    become: str | None = field(default=None, repr=False)
    vault: Vault = field(default_factory=Vault)


def _ask(prompt: str) -> str:
    """Ask at the terminal; without one a line of standard input is taken, as Ansible does."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        line = sys.stdin.readline()
        if line:
            return line.rstrip("\n")
        raise UsageError(
            "no password was given: standard input has ended",
            code="login.no-password",
            hint="give it at the terminal, or in a file: --become-password-file, --vault-password-file",
        ) from None
    return getpass.getpass(prompt)


def obtain(asking: Asking, settings: Settings, ask: Callable[[str], str] = _ask) -> Credentials:
    """Ask for what is to be asked and read what lies in files. UsageError (2) when one cannot be read.

    The order and the words are Ansible's.
    """
    login_file = asking.connection_password_file or _path(settings.connection_password_file)
    become_file = asking.become_password_file or _path(settings.become_password_file)
    login = become = None
    if login_file:
        login = _first_line(login_file)
    elif asking.ask_pass or settings.ask_pass:
        login = ask("SSH password: ")
    if become_file:
        become = _first_line(become_file)
    elif asking.ask_become_pass or settings.become_ask_pass:
        become = ask("BECOME password[defaults to SSH password]: " if login else "BECOME password: ") or login
    sources = [*asking.vault_ids, *(str(path) for path in asking.vault_password_files)]
    if asking.ask_vault_pass or (settings.ask_vault_pass and not sources):
        sources.append("prompt")
    sources += settings.vault_sources
    return Credentials(login, become, Vault(read_passwords(sources, ask)))


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _first_line(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the password: {error}", code="login.password-file", where=Where(file=str(path))
        ) from error
    return text.strip().splitlines()[0] if text.strip() else ""
