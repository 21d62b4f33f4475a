"""The servers and testers of an Ansible inventory, read by Ansible itself.

Whatever Ansible accepts as an inventory works: YAML, INI, a folder with ``group_vars``, a script, a
plugin's configuration. Ansible lists it once (``ansible-inventory --list``, which evaluates no
template); every value is then inert text, here and in the run (:func:`Inventory.for_ansible`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbops.deploy.logins import connection_of, field_of, target_of, text_of
from rbops.deploy.ssh.target import Target
from rbops.deploy.unsafe_yaml import dump_unsafe
from rbops.errors import Mismatch, UsageError, Where
from rbops.plan import ClusterPlan

__all__ = ["Inventory", "Target", "Tester", "load_inventory"]

SERVERS = "rbops_servers"
TESTERS = "rbops_testers"

_TIMEOUT_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Tester:
    """A sender and receiver on external port ``port``: device ``device`` in network namespace ``netns``.

    ``netns`` None: the device is in the initial namespace. ``target`` None: on this machine.
    """

    name: str
    port: int
    netns: str | None
    device: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """Servers (those that ``limit`` leaves) and testers (all) of an inventory.

    ``known`` are the names of all its servers, with or without a limit. ``listing`` is Ansible's
    own JSON of it.
    """

    path: str
    servers: tuple[Target, ...]
    testers: tuple[Tester, ...]
    known: tuple[str, ...]
    limit: str | None = None
    listing: str = field(default="{}", repr=False)

    def server(self, name: str) -> Target:
        """The server called ``name``; KeyError when the inventory (or the limit) has none."""
        for target in self.servers:
            if target.name == name:
                return target
        raise KeyError(name)

    def for_plan(self, plan: ClusterPlan) -> tuple[Target, ...]:
        """The plan's servers that the limit leaves, in the plan's order; raises as :meth:`matching`."""
        return self.matching(plan).servers

    def matching(self, plan: ClusterPlan) -> Inventory:
        """The same inventory with only the plan's servers, in the plan's order.

        Raises Mismatch when a planned server is not in the inventory, UsageError when the limit
        leaves none of them.
        """
        planned = [server.name for server in plan.servers]
        absent = [name for name in planned if name not in self.known]
        if absent:
            there = ", ".join(self.known) or "no server"
            raise Mismatch(
                f"the plan's {', '.join(absent)} not in the inventory, which has {there}",
                code="inventory.missing-server",
                where=Where(file=self.path),
                hint=f"add {'it' if len(absent) == 1 else 'them'} to the group {SERVERS}, under the plan's name",
            )
        by_name = {target.name: target for target in self.servers}
        chosen = tuple(by_name[name] for name in planned if name in by_name)
        if not chosen:
            raise UsageError(
                f"--limit {self.limit} matches none of the planned servers: {', '.join(planned)}",
                code="inventory.limit",
            )
        return replace(self, servers=chosen)

    def for_ansible(self) -> str:
        """An inventory in YAML of the same servers for a run, every text marked ``!unsafe``.

        A template in a value is then never evaluated; vaulted values stay vaulted.
        """
        listing = json.loads(self.listing)
        variables = listing["_meta"]["hostvars"]
        # rbops needs root on a server: by sudo unless the login is root already.
        hosts = {
            target.name: {**variables.get(target.name, {}), "ansible_become": target.become} for target in self.servers
        }
        body = {"all": {"children": {SERVERS: {"hosts": hosts}}}}
        return dump_unsafe(body)


def load_inventory(path: Path | str, limit: str | None = None) -> Inventory:
    """Read an inventory with Ansible; ``limit`` is a host pattern as ``--limit`` of Ansible takes.

    Raises UsageError (2) for an inventory that is missing, cannot be parsed, or has values rbops
    cannot use literally, Mismatch (3) when it names no servers.
    """
    source = str(path)
    if "," not in source and not Path(source).exists():
        raise UsageError(
            "the inventory does not exist",
            code="inventory.not-found",
            where=Where(file=source),
            hint="`rbops lab up SPEC` writes one for a lab",
        )
    with ThreadPoolExecutor(max_workers=2) as pool:
        full = pool.submit(_list, source, None)
        limited = pool.submit(_list, source, limit) if limit else full
        listing, chosen = full.result(), limited.result()
    known = _group(listing, SERVERS)
    if not known:
        raise Mismatch(
            f"no host in the group {SERVERS}",
            code="inventory.no-servers",
            where=Where(file=source),
            hint=f"put the router's servers into the group {SERVERS}; `rbops init` shows how",
        )
    names = [name for name in _group(chosen, SERVERS) if name in known]
    if not names:
        raise UsageError(
            f"--limit {limit} matches no server, the inventory has {', '.join(known)}",
            code="inventory.limit",
            where=Where(file=source),
        )
    variables: Mapping[str, Mapping[str, Any]] = listing["_meta"]["hostvars"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        targets = list(pool.map(lambda name: target_of(name, variables.get(name, {})), names))
        testers = list(pool.map(lambda name: _tester(name, variables.get(name, {})), _group(listing, TESTERS)))
    testers.sort(key=lambda tester: (tester.port, tester.name))
    return Inventory(source, tuple(targets), tuple(testers), tuple(known), limit, json.dumps(listing))


def _list(source: str, limit: str | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "ansible.cli.inventory", "-i", source, "--list"]
    if limit:
        command += ["--limit", limit]
    environment = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", "ANSIBLE_NOCOLOR": "1"}
    environment |= {"LC_ALL": "C.UTF-8", "ANSIBLE_FORCE_COLOR": "0"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"ansible-inventory did not finish in {_TIMEOUT_S:.0f} s",
            code="inventory.timeout",
            where=Where(file=source),
        ) from error
    if done.returncode != 0:
        raise UsageError(
            f"ansible-inventory cannot read it:\n{_reason(done.stderr)}",
            code="inventory.unreadable",
            where=Where(file=source),
        )
    listing: dict[str, Any] = json.loads(done.stdout)
    return listing


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in dict.fromkeys(lines)) or "  no reason given"


def _group(listing: Mapping[str, Any], group: str) -> list[str]:
    """The hosts of a group and of the groups in it, each once, in Ansible's order."""
    names: list[str] = []
    todo, seen = [group], set()
    while todo:
        current = todo.pop(0)
        if current in seen:
            continue
        seen.add(current)
        entry = listing.get(current, {})
        names += entry.get("hosts", [])
        todo += entry.get("children", [])
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a valid host name, expected letters, digits, '.', '_' and '-'",
                code="inventory.host-name",
                where=Where(file="inventory"),
            )
    return list(dict.fromkeys(names))


def _tester(name: str, variables: Mapping[str, Any]) -> Tester:
    port = text_of(name, variables, "rbops_port")
    if port is None or not port.isdecimal():
        raise Mismatch(
            f"{port!r} is not a valid port id, expected the external port that the tester is on"
            if port
            else "missing, expected the external port that the tester is on",
            code="inventory.tester-port",
            where=field_of(name, "rbops_port"),
        )
    local = connection_of(name, variables) == "local"
    return Tester(
        name=name,
        port=int(port),
        netns=text_of(name, variables, "rbops_netns"),
        device=text_of(name, variables, "rbops_device") or f"ext{port}",
        target=None if local else target_of(name, variables),
    )
