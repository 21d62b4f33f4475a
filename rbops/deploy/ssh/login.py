"""The one place that decides how to log in to a server."""

from __future__ import annotations

from rbops.deploy.ssh import client, library
from rbops.deploy.ssh.channel import Connection
from rbops.deploy.ssh.known import beyond_paramiko
from rbops.deploy.ssh.refused import unreadable
from rbops.deploy.ssh.target import Target

__all__ = ["log_in", "why_client"]


def why_client(target: Target) -> str | None:
    """Why only OpenSSH's client can log in as the settings ask; None where paramiko does it as well."""
    if target.client_only:
        return ", ".join(target.client_only)
    try:
        return beyond_paramiko(target.known_hosts)
    except OSError as error:
        raise unreadable(target, error) from error


def log_in(target: Target) -> Connection:
    """Log in to a server: by paramiko, or by OpenSSH's client where :func:`why_client` names a reason.

    A login that paramiko does not manage is OpenSSH's to try: what it can log in to, rbops can, and what it says is
    the reason. Raises Unreachable.
    """
    if why_client(target) is not None:
        return client.connect(target)
    try:
        return library.connect(target)
    except library.Undecided:
        return client.connect(target)
