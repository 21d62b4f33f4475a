"""Becoming root: the command line around a command, sudo's password, and what sudo says when it refuses.

What a program says is told from what is printed around it (a shell profile that echoes, sudo's warnings, "Could not
chdir to home directory") by a marker on both streams before it starts, and another one on stderr with its exit status.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rbops.deploy.ssh.target import Target
from rbops.errors import RbopsError, Unreachable

__all__ = ["PATH", "Wrapped", "refusal", "wrap"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of every command on a server: neither sudo's ``secure_path`` nor the login's own need have the sbin folders."""

_SCRIPT = (
    f"PATH={PATH} LC_ALL=C.UTF-8; export PATH LC_ALL; "
    'printf "%s\\n" "$0"; printf "%s\\n" "$0" >&2; "$@"; c=$?; printf "\\n%s %s\\n" "$0" "$c" >&2; exit "$c"'
)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command for the login shell. ``mark`` comes before its output, ``prompt`` where sudo wants a password."""

    command: str
    mark: bytes
    prompt: bytes | None

    def beginning(self, out: bytes | bytearray) -> int:
        """Where the command's own output begins in ``out``; 0 before it has been started."""
        line = self.mark + b"\n"
        return out.find(line) + len(line) if line in out else 0

    def errors(self, err: bytes) -> tuple[bytes, int | None]:
        """What the command itself wrote to stderr, and its exit status; None when it did not get to its end."""
        said = err.partition(self.mark + b"\n")[2]
        said, found, rest = said.rpartition(b"\n" + self.mark + b" ")
        if not found:
            return err.partition(self.mark + b"\n")[2], None
        return said, int(rest.split(b"\n")[0])


def wrap(target: Target, argv: Sequence[str], *, root: bool) -> Wrapped:
    """The command line for ``argv``, as root where ``root`` and the login is somebody else."""
    mark = f"rbops-{secrets.token_hex(8)}"
    inner = ["sh", "-c", _SCRIPT, mark, *argv]
    if not (root and target.become):
        return Wrapped(shlex.join(inner), mark.encode(), None)
    # sudo's own words in English, whatever the login's locale.
    outer = ["env", "LC_ALL=C.UTF-8", *target.become_with]
    if target.become_password is None:
        return Wrapped(shlex.join([*outer, "-n", "--", *inner]), mark.encode(), None)
    prompt = f"[{mark} password]"
    return Wrapped(shlex.join([*outer, "-S", "-p", prompt, "--", *inner]), mark.encode(), prompt.encode())


_REFUSALS = (
    ("password is required", "sudo requires a password"),
    ("incorrect password", "sudo refuses the password"),
    ("no password was provided", "sudo requires a password"),
    ("not allowed", "sudo is not allowed"),
    ("may not run sudo", "sudo is not allowed"),
    ("not in the sudoers", "sudo is not allowed"),
    ("must have a tty", "sudo requires a terminal"),
    ("effective uid is not 0", "sudo cannot become root"),
    ("unable to", "sudo fails"),
    ("No such file or directory", "sudo is not installed"),
    ("not found", "sudo is not installed"),
)


def refusal(target: Target, printed: str, *, root: bool) -> RbopsError:
    """Why a command was not started at all, from what was printed instead."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    if root and target.become:
        what = next((what for marker, what in _REFUSALS if marker in printed), None)
        if what is not None:
            return Unreachable(
                f"{what} for {target.user}: {lines[-1]}",
                code="ssh.sudo",
                where=target.where,
                hint=f"let {target.user} use sudo without a password (NOPASSWD), give the password with "
                "--ask-become-pass or ansible_become_password, or connect as root",
            )
    return Unreachable(
        f"the login of {target.user} runs no command: {lines[-1] if lines else 'it ended at once'}",
        code="ssh.no-command",
        where=target.where,
        hint=f"`ssh {target.destination or target.host} true` shows it: the login shell and its profile",
    )
