"""What OpenSSH would do for a server: its own answer (``ssh -G``), so that rbops and Ansible agree.

Ansible pushes through OpenSSH while rbops's own connections are paramiko's. Asking OpenSSH for the
resolved options keeps both on one address, one key, one known_hosts file and one jump host,
whatever ``~/.ssh/config`` and ``ansible_ssh_common_args`` say. See ssh_config(5).
"""

from __future__ import annotations

import itertools
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rbops.errors import UsageError, Where

__all__ = ["SshOptions", "resolve"]

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class SshOptions:
    """The options of ssh_config(5) that a connection needs, resolved for one host.

    ``key_files`` and ``known_hosts`` list only files that exist; ``proxy_command`` has no tokens left.
    ``connect_timeout_s`` is None where none is set.
    """

    host: str
    port: int
    user: str
    key_files: tuple[Path, ...]
    known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    identities_only: bool
    proxy_command: str | None
    connect_timeout_s: float | None = None


def resolve(host: str, arguments: list[str], *, name: str) -> SshOptions:
    """Ask OpenSSH for the options of ``host`` under ``arguments`` (as given to ssh before the host).

    Raises UsageError naming the server ``name`` when OpenSSH is not installed or refuses them.
    """
    command = ["ssh", "-G", *arguments, "--", host]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise UsageError(
            "the OpenSSH client is not installed", code="ssh.no-client", hint="install openssh-client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"`ssh -G {host}` did not finish in {_TIMEOUT_S:.0f} s",
            code="ssh.options-timeout",
            where=Where(server=name),
        ) from error
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UsageError(
            f"ssh refuses its options: {reason[0]}",
            code="ssh.options",
            where=Where(server=name),
            hint=f"see ansible_ssh_common_args and ansible_ssh_extra_args of {name} in the inventory",
        )
    return _parse(done.stdout, arguments)


def _parse(text: str, arguments: list[str]) -> SshOptions:
    single: dict[str, str] = {}
    identities: list[str] = []
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "identityfile":
            identities.append(value)
        else:
            single.setdefault(key, value)
    host, port, user = single["hostname"], int(single["port"]), single["user"]
    files = [single.get(f"{whose}knownhostsfile", "") for whose in ("user", "global")]
    return SshOptions(
        host=host,
        port=port,
        user=user,
        key_files=_existing(identities),
        known_hosts=tuple(path for text in files for path in _files(text)),
        host_key_alias=single.get("hostkeyalias"),
        identities_only=single.get("identitiesonly") == "yes",
        proxy_command=_proxy(single, arguments, host, port, user),
        connect_timeout_s=_seconds(single.get("connecttimeout", "none")),
    )


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and int(text) else None


def _files(text: str) -> tuple[Path, ...]:
    # ssh -G quotes nothing: one path with spaces looks like several.
    return _existing([text]) or _existing(text.split())


def _existing(names: list[str]) -> tuple[Path, ...]:
    paths = (Path(name).expanduser() for name in dict.fromkeys(names))
    return tuple(path for path in paths if path.is_file())


def _proxy(options: dict[str, str], arguments: list[str], host: str, port: int, user: str) -> str | None:
    command = options.get("proxycommand", "none")
    if command != "none":
        tokens = {"%%": "%", "%h": host, "%p": str(port), "%r": user, "%n": host}
        return _replace(command, tokens)
    jump = options.get("proxyjump", "none")
    if jump == "none":
        return None
    *before, last = jump.split(",")
    chain = ["-J", ",".join(before)] if before else []
    # The jump host itself is checked by OpenSSH, with the user's configuration file when one was named.
    config = [value for flag, value in itertools.pairwise(arguments) if flag == "-F"]
    return shlex.join(["ssh", *(["-F", config[-1]] if config else []), *chain, "-W", f"[{host}]:{port}", last])


def _replace(command: str, tokens: dict[str, str]) -> str:
    parts: list[str] = []
    rest = command
    while "%" in rest:
        head, _, tail = rest.partition("%")
        token = "%" + tail[:1]
        parts += [head, tokens.get(token, token)]
        rest = tail[1:]
    return "".join([*parts, rest])
