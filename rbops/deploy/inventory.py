"""The servers and testers of an Ansible inventory, read by Ansible itself.

Whatever Ansible accepts as an inventory works: YAML, INI, a folder with ``group_vars``, a script, a
plugin's configuration, several of them together. Ansible lists it once; every value is then inert text, here and in
the run (:func:`Inventory.for_ansible`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbops.deploy.credentials import Asking, obtain
from rbops.deploy.extra_vars import extra_vars
from rbops.deploy.listing import list_inventory
from rbops.deploy.logins import Means, connection_of, field_of, target_of, text_of, variables_for_ansible
from rbops.deploy.settings import read_settings
from rbops.deploy.ssh.target import Target
from rbops.deploy.unsafe_yaml import dump_unsafe, opened
from rbops.errors import Mismatch, UsageError, Where
from rbops.plan import ClusterPlan

__all__ = ["Inventory", "Target", "Tester", "load_inventory"]

SERVERS = "rbops_servers"
TESTERS = "rbops_testers"

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

    ``path`` is it, or several, as given. ``known`` are the names of all its servers, with or without a limit.
    ``variables`` are those of each host, as Ansible lists them.
    """

    path: str
    servers: tuple[Target, ...]
    testers: tuple[Tester, ...]
    known: tuple[str, ...]
    limit: str | None = None
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    means: Means = field(default_factory=Means, repr=False)

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

        A template in a value is then never evaluated. A vaulted value is decrypted where its password was given, and
        stays vaulted otherwise. With :attr:`secret` it is to be encrypted.
        """
        vault = self.means.credentials.vault
        hosts = {
            target.name: opened(variables_for_ansible(target, self.variables[target.name], self.means), vault)
            for target in self.servers
        }
        return dump_unsafe({"all": {"children": {SERVERS: {"hosts": hosts}}}})

    @property
    def secret(self) -> bool:
        """Whether :meth:`for_ansible` has passwords in it, or what was encrypted with one."""
        passwords = (password for target in self.servers for password in (target.password, target.become_password))
        return bool(self.means.credentials.vault.passwords) or any(password is not None for password in passwords)


def load_inventory(
    sources: Path | str | Sequence[Path | str],
    limit: str | None = None,
    asking: Asking | None = None,
    extra: Sequence[str] = (),
) -> Inventory:
    """Read inventories with Ansible, merged as it merges several.

    ``limit`` is a host pattern as ``--limit`` of Ansible takes. ``asking``: where passwords come from. ``extra``: the
    arguments of ``-e``, variables of every host that come before its own. Raises UsageError (2) for an inventory that
    is missing, cannot be parsed, or has values rbops cannot use literally, Mismatch (3) when it names no servers.
    """
    names = [str(source) for source in ([sources] if isinstance(sources, Path | str) else sources)]
    for name in names:
        if "," not in name and not Path(name).exists():
            raise UsageError(
                "the inventory does not exist",
                code="inventory.not-found",
                where=Where(file=name),
                hint="`rbops lab up SPEC` writes one for a lab",
            )
    settings = read_settings()
    means = Means(settings, obtain(asking or Asking(), settings))
    vault = means.credentials.vault
    with ThreadPoolExecutor(max_workers=2) as pool:
        full = pool.submit(list_inventory, names, None, vault)
        limited = pool.submit(list_inventory, names, limit, vault) if limit else full
        listing, chosen = full.result(), limited.result()
    return _inventory(names, listing, chosen, limit, means, extra_vars(extra, vault))


def _inventory(
    sources: Sequence[str],
    listing: Mapping[str, Any],
    chosen: Mapping[str, Any],
    limit: str | None,
    means: Means,
    extra: Mapping[str, Any],
) -> Inventory:
    where = Where(file=", ".join(sources))
    known = _group(listing, SERVERS)
    if not known:
        raise Mismatch(
            f"no host in the group {SERVERS}",
            code="inventory.no-servers",
            where=where,
            hint=f"put the router's servers into the group {SERVERS}; `rbops init` shows how",
        )
    names = [name for name in _group(chosen, SERVERS) if name in known]
    if not names:
        raise UsageError(
            f"--limit {limit} matches no server, the inventory has {', '.join(known)}",
            code="inventory.limit",
            where=where,
        )
    own: Mapping[str, Mapping[str, Any]] = listing["_meta"]["hostvars"]
    testers = _group(listing, TESTERS)
    variables = {name: own.get(name, {}) for name in testers} | {name: {**own.get(name, {}), **extra} for name in names}
    with ThreadPoolExecutor(max_workers=8) as pool:
        targets = list(pool.map(lambda name: target_of(name, variables[name], means), names))
        found = list(pool.map(lambda name: _tester(name, variables[name], means), testers))
    found.sort(key=lambda tester: (tester.port, tester.name))
    return Inventory(str(where.file), tuple(targets), tuple(found), tuple(known), limit, variables, means)


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


def _tester(name: str, variables: Mapping[str, Any], means: Means) -> Tester:
    if text_of(name, variables, "rbops_loop", means=means) is not None:
        raise UsageError(
            "external ports looped by a cable cannot be tested: a packet that leaves by one of them and comes in by "
            "the other is routed by its destination again, out of the same port, until its TTL ends",
            code="inventory.loop",
            where=field_of(name, "rbops_loop"),
            hint="put a tester on both ports (one machine may have several), or leave them out with `selftest --ports`",
        )
    port = text_of(name, variables, "rbops_port", means=means)
    if port is None or not port.isdecimal():
        raise Mismatch(
            f"{port!r} is not a valid port id, expected the external port that the tester is on"
            if port
            else "missing, expected the external port that the tester is on",
            code="inventory.tester-port",
            where=field_of(name, "rbops_port"),
        )
    local = connection_of(name, variables, means) == "local"
    return Tester(
        name=name,
        port=int(port),
        netns=text_of(name, variables, "rbops_netns", means=means),
        device=text_of(name, variables, "rbops_device", means=means) or f"ext{port}",
        target=None if local else target_of(name, variables, means),
    )
