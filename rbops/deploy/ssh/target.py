"""How to reach one server, and how to become root on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rbops.errors import Where

__all__ = ["CONNECT_TIMEOUT_S", "Target"]

CONNECT_TIMEOUT_S = 10.0
"""Where neither ssh_config(5) nor the inventory's SSH arguments say ``ConnectTimeout``."""

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach and become root on one server; ``name`` is its name in inventory and plan.

    ``destination`` and ``arguments`` are what OpenSSH is given, ``host`` and ``port`` what it makes of them.
    ``client_only`` names the settings that only OpenSSH's client has: not empty, and paramiko is not tried.
    ``connect_timeout_s`` is for each stage of a login: TCP, banner, authentication. ``become_with`` is sudo and its
    flags.
    """

    name: str
    host: str
    port: int = SSH_PORT
    user: str = "root"
    key_files: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] = ()
    become: bool = False
    host_key_alias: str | None = None
    identities_only: bool = False
    python: str = "python3"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    password: str | None = field(default=None, repr=False)
    become_password: str | None = field(default=None, repr=False)
    become_with: tuple[str, ...] = ("sudo",)
    destination: str = ""
    arguments: tuple[str, ...] = ()
    client_only: tuple[str, ...] = ()
    jump: str | None = None

    @property
    def where(self) -> Where:
        """The server as the place of an error."""
        return Where(server=self.name)

    @property
    def address(self) -> str:
        """``user@host`` with the port unless it is 22, for messages."""
        return f"{self.user}@{self.host}" + (f" port {self.port}" if self.port != SSH_PORT else "")

    @property
    def host_key_name(self) -> str:
        """The name of its host key in known_hosts."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"
