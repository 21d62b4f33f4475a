"""Ansible's own listing of one or several inventories (``ansible-inventory --list``), which evaluates no template."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rbops.deploy.handover import Handover
from rbops.deploy.settings import environment
from rbops.deploy.vault import Vault
from rbops.errors import UsageError, Where

__all__ = ["list_inventory"]

_TIMEOUT_S = 60.0


def list_inventory(sources: Sequence[str], limit: str | None, vault: Vault) -> dict[str, Any]:
    """The listing of ``sources`` together, merged as Ansible merges them. UsageError (2) with Ansible's words."""
    command = [sys.executable, "-m", "ansible.cli.inventory", "--list"]
    command += [word for source in sources for word in ("-i", source)]
    command += ["--limit", limit] if limit else []
    where = Where(file=", ".join(sources))
    with ExitStack() as stack:
        known = [f"{label}@{stack.enter_context(Handover(password)).path}" for label, password in vault.passwords]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                env={
                    **environment(),
                    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
                    # Asked for already, once.
                    "ANSIBLE_ASK_VAULT_PASS": "0",
                    **({"ANSIBLE_VAULT_IDENTITY_LIST": ",".join(known)} if known else {}),
                },
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"ansible-inventory did not finish in {_TIMEOUT_S:.0f} s", code="inventory.timeout", where=where
            ) from error
    if done.returncode != 0:
        raise UsageError(
            f"ansible-inventory cannot read it:\n{_reason(done.stderr)}", code="inventory.unreadable", where=where
        )
    return _parse(done.stdout, where)


def _parse(text: str, where: Where) -> dict[str, Any]:
    """The listing itself; a program that Ansible starts may print before it."""
    for start in (at for at in range(len(text)) if text[at] == "{" and (at == 0 or text[at - 1] == "\n")):
        try:
            found = json.loads(text[start:])
        except ValueError:
            continue
        if isinstance(found, Mapping) and "_meta" in found:
            return dict(found)
    raise UsageError(
        f"ansible-inventory printed no listing: {text.strip()[:200]!r}", code="inventory.unreadable", where=where
    )


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in dict.fromkeys(lines)) or "  no reason given"
