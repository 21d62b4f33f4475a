"""The servers and testers of an Ansible inventory, read by Ansible itself.

Whatever Ansible accepts as an inventory works: YAML, INI, a folder with ``group_vars``, a script, a
plugin's configuration. Ansible lists it once (``ansible-inventory --list``, which evaluates no
template); every value is then inert text, here and in the run (:func:`Inventory.for_ansible`).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbops.deploy.ssh_config import SshOptions, resolve
from rbops.deploy.unsafe_yaml import dump_unsafe
from rbops.errors import Mismatch, UsageError, Where
from rbops.plan import ClusterPlan

__all__ = ["Inventory", "Target", "Tester", "load_inventory"]

SERVERS = "rbops_servers"
TESTERS = "rbops_testers"

CONNECT_TIMEOUT_S = 10.0
"""Where neither ssh_config(5) nor the inventory's SSH arguments say ``ConnectTimeout``."""

_TIMEOUT_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CONNECTIONS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"})


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach and become root on one server; ``name`` is its name in inventory and plan.

    ``connect_timeout_s`` is for each stage of a login: TCP, banner, authentication.
    """

    name: str
    host: str
    port: int = 22
    user: str = "root"
    key_files: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] = ()
    become: bool = False
    host_key_alias: str | None = None
    identities_only: bool = False
    proxy_command: str | None = None
    python: str = "python3"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    password: str | None = field(default=None, repr=False)

    @property
    def where(self) -> Where:
        """The server as the place of an error."""
        return Where(server=self.name)

    @property
    def address(self) -> str:
        """``user@host`` with the port unless it is 22, for messages."""
        return f"{self.user}@{self.host}" + (f" port {self.port}" if self.port != 22 else "")  # noqa: PLR2004 - ssh


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
        targets = list(pool.map(lambda name: _target(name, variables.get(name, {})), names))
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


def _text(name: str, variables: Mapping[str, Any], *keys: str) -> str | None:
    """The first of the variables that is set, as text; UsageError when it is a template."""
    for key in keys:
        value = variables.get(key)
        if isinstance(value, Mapping):
            value = value.get("__ansible_unsafe")
        if value is None:
            continue
        text = str(value)
        if "{{" in text or "{%" in text:
            raise UsageError(
                "the value is a template, rbops evaluates none",
                code="inventory.template",
                where=_field(name, key),
                hint="write the value itself",
            )
        return text
    return None


def _target(name: str, variables: Mapping[str, Any]) -> Target:
    connection = _text(name, variables, "ansible_connection") or "ssh"
    if connection not in _CONNECTIONS:
        raise Mismatch(
            f"{connection!r} is not supported for servers, expected ssh",
            code="inventory.connection",
            where=_field(name, "ansible_connection"),
        )
    options = _options(name, variables)
    become = (_text(name, variables, "ansible_become") or "false").lower() in {"1", "on", "true", "yes"}
    known = _text(name, variables, "rbops_known_hosts")
    return Target(
        name=name,
        host=options.host,
        port=options.port,
        user=options.user,
        key_files=options.key_files,
        known_hosts=(Path(known).expanduser(),) if known else options.known_hosts,
        become=become or options.user != "root",
        host_key_alias=options.host_key_alias,
        identities_only=options.identities_only,
        proxy_command=options.proxy_command,
        python=_interpreter(name, variables),
        connect_timeout_s=options.connect_timeout_s or CONNECT_TIMEOUT_S,
        password=_text(name, variables, "ansible_password", "ansible_ssh_password", "ansible_ssh_pass"),
    )


def _options(name: str, variables: Mapping[str, Any]) -> SshOptions:
    host = _text(name, variables, "ansible_host", "ansible_ssh_host") or name
    if host.startswith("-") or any(char.isspace() or not char.isprintable() for char in host):
        raise UsageError(
            f"{host!r} is not a valid address or host name",
            code="inventory.address",
            where=_field(name, "ansible_host"),
        )
    arguments: list[str] = []
    key = _text(name, variables, "ansible_ssh_private_key_file", "ansible_private_key_file")
    if key:
        if not Path(key).expanduser().is_file():
            raise UsageError(
                f"the private key file {key} does not exist",
                code="inventory.key-file",
                where=_field(name, "ansible_ssh_private_key_file"),
            )
        arguments += ["-i", key]
    for flag, keys in (("-p", ("ansible_port", "ansible_ssh_port")), ("-l", ("ansible_user", "ansible_ssh_user"))):
        value = _text(name, variables, *keys)
        if value:
            arguments += [flag, value]
    for argument in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        text = _text(name, variables, argument) or ""
        try:
            arguments += shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is not valid shell syntax: {error}",
                code="inventory.ssh-arguments",
                where=_field(name, argument),
            ) from error
    return resolve(host, arguments, name=name)


def _field(name: str, key: str) -> Where:
    """A variable of a host as the place of an error."""
    return Where(file="inventory", field=f"{name}.{key}")


def _interpreter(name: str, variables: Mapping[str, Any]) -> str:
    value = _text(name, variables, "ansible_python_interpreter")
    return value if value and not value.startswith("auto") else "python3"


def _tester(name: str, variables: Mapping[str, Any]) -> Tester:
    port = _text(name, variables, "rbops_port")
    if port is None or not port.isdecimal():
        raise Mismatch(
            f"{port!r} is not a valid port id, expected the external port that the tester is on"
            if port
            else "missing, expected the external port that the tester is on",
            code="inventory.tester-port",
            where=_field(name, "rbops_port"),
        )
    local = (_text(name, variables, "ansible_connection") or "ssh") == "local"
    return Tester(
        name=name,
        port=int(port),
        netns=_text(name, variables, "rbops_netns"),
        device=_text(name, variables, "rbops_device") or f"ext{port}",
        target=None if local else _target(name, variables),
    )
