"""What OpenSSH would do for a server: its own answer (``ssh -G``), so that rbops and Ansible agree.

Ansible pushes through OpenSSH while rbops's own connections are paramiko's where that does the same. Asking OpenSSH
for the resolved options keeps both on one address, one key, one known_hosts file and one jump host, whatever
``~/.ssh/config`` and ``ansible_ssh_common_args`` say. See ssh_config(5).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbops.errors import UsageError, Where

__all__ = ["SshOptions", "resolve"]

_TIMEOUT_S = 10.0

# What paramiko has not, or has otherwise. Where one of them is not OpenSSH's default, its client logs in.
_CLIENT_ONLY = {
    "addressfamily": "AddressFamily",
    "bindaddress": "BindAddress",
    "bindinterface": "BindInterface",
    "casignaturealgorithms": "CASignatureAlgorithms",
    "certificatefile": "CertificateFile",
    "ciphers": "Ciphers",
    "hostbasedauthentication": "HostbasedAuthentication",
    "hostkeyalgorithms": "HostKeyAlgorithms",
    "identityagent": "IdentityAgent",
    "kbdinteractiveauthentication": "KbdInteractiveAuthentication",
    "kexalgorithms": "KexAlgorithms",
    "knownhostscommand": "KnownHostsCommand",
    "macs": "MACs",
    "nohostauthenticationforlocalhost": "NoHostAuthenticationForLocalhost",
    "passwordauthentication": "PasswordAuthentication",
    "pkcs11provider": "PKCS11Provider",
    "preferredauthentications": "PreferredAuthentications",
    "proxycommand": "ProxyCommand",
    "proxyjump": "ProxyJump",
    "pubkeyacceptedalgorithms": "PubkeyAcceptedAlgorithms",
    "pubkeyauthentication": "PubkeyAuthentication",
    "requiredrsasize": "RequiredRSASize",
    "revokedhostkeys": "RevokedHostKeys",
    "securitykeyprovider": "SecurityKeyProvider",
    "verifyhostkeydns": "VerifyHostKeyDNS",
}


@dataclass(frozen=True, slots=True)
class SshOptions:
    """The options of ssh_config(5) that a connection needs, resolved for one host.

    ``key_files`` and ``known_hosts`` list only files that exist. ``client_only`` names the options that paramiko does
    not have, ``jump`` what leads to the host: the first jump host, or "a ProxyCommand". ``connect_timeout_s`` is None
    where none is set.
    """

    host: str
    port: int
    user: str
    key_files: tuple[Path, ...]
    known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    identities_only: bool
    client_only: tuple[str, ...] = ()
    jump: str | None = None
    connect_timeout_s: float | None = None


def resolve(host: str, arguments: Sequence[str], *, name: str) -> SshOptions:
    """Ask OpenSSH for the options of ``host`` under ``arguments`` (as given to ssh before the host).

    Raises UsageError naming the server ``name`` when OpenSSH is not installed or refuses them.
    """
    usual = _parse(_ask(["-F", "none"], host, name))
    return _options(_parse(_ask(arguments, host, name)), usual)


def _ask(arguments: Sequence[str], host: str, name: str) -> str:
    command = ["ssh", "-G", *arguments, "--", host]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
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
            hint=f"see ssh_config(5), ansible_ssh_common_args and ansible_ssh_extra_args of {name}",
        )
    return done.stdout


def _parse(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def _options(found: Mapping[str, list[str]], usual: Mapping[str, list[str]]) -> SshOptions:
    single = {key: values[0] for key, values in found.items()}
    files = [single.get(f"{whose}knownhostsfile", "") for whose in ("user", "global")]
    keys = _existing([path.replace("%%", "%") for path in found.get("identityfile", [])])
    others = [word for key, word in _CLIENT_ONLY.items() if found.get(key) != usual.get(key)]
    others += [f"IdentityFile {path}" for path in keys if not _is_private(path)]
    return SshOptions(
        host=single["hostname"],
        port=int(single["port"]),
        user=single["user"],
        key_files=keys,
        known_hosts=tuple(path for text in files for path in _files(text)),
        host_key_alias=single.get("hostkeyalias"),
        identities_only=single.get("identitiesonly") == "yes",
        client_only=tuple(others),
        jump=_jump(single),
        connect_timeout_s=_seconds(single.get("connecttimeout", "none")),
    )


def _is_private(path: Path) -> bool:
    """Whether it is a key itself: a public one stands for a key in an agent."""
    try:
        with path.open("rb") as file:
            return b"PRIVATE KEY-----" in file.readline(200)
    except OSError:  # ssh tries the next one too
        return True


def _jump(options: Mapping[str, str]) -> str | None:
    jump = options.get("proxyjump", "none")
    if jump != "none":
        return jump.split(",")[0]
    return "a ProxyCommand" if options.get("proxycommand", "none") != "none" else None


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and int(text) else None


def _files(text: str) -> tuple[Path, ...]:
    # ssh -G quotes nothing: one path with spaces looks like several.
    return _existing([text]) or _existing(text.split())


def _existing(names: Sequence[str]) -> tuple[Path, ...]:
    paths = (Path(name).expanduser() for name in dict.fromkeys(names))
    return tuple(path for path in paths if path.is_file())
