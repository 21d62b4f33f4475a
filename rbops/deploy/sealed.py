"""What a run of Ansible is given that must be in no file: encrypted with a password that only this process has."""

from __future__ import annotations

import secrets
from pathlib import Path

from rbops.deploy.handover import Handover
from rbops.deploy.vault import encrypt

__all__ = ["Sealing"]


class Sealing:
    """A vault for one run. ``needed`` False: texts stay as they are."""

    __slots__ = ("_handover", "_password")

    def __init__(self, *, needed: bool) -> None:
        self._password = secrets.token_urlsafe(32)
        self._handover = Handover(self._password) if needed else None

    def seal(self, text: str) -> str:
        """``text``, encrypted where that is needed."""
        return encrypt(text, self._password) if self._handover else text

    @property
    def environment(self) -> dict[str, str]:
        """What makes Ansible decrypt it. It names a place in this process's memory, not the password."""
        return {"ANSIBLE_VAULT_IDENTITY_LIST": f"rbops@{self.path}"} if self._handover else {}

    @property
    def path(self) -> Path:
        """Where the password can be read while this is open."""
        return self._handover.path if self._handover else Path()

    def close(self) -> None:
        """Forget the password."""
        if self._handover:
            self._handover.close()
