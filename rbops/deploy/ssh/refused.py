"""What went wrong with a login, in words: not reachable, unknown host key, login refused are different things."""

from __future__ import annotations

import re
import shlex

from rbops.deploy.ssh.target import Target
from rbops.errors import Unreachable

__all__ = ["explained", "login_refused", "no_answer", "no_connection", "unreadable"]


def no_answer(target: Target) -> Unreachable:
    """It did not answer in time."""
    where = f"{target.address} does not answer in {target.connect_timeout_s:.0f} s"
    return Unreachable(_through(target, where), code="ssh.no-answer", where=target.where)


def no_connection(target: Target, reason: str) -> Unreachable:
    """No connection could be made."""
    return Unreachable(
        _through(target, f"cannot connect to {target.address}: {reason}"),
        code="ssh.no-connection",
        where=target.where,
    )


def login_refused(target: Target, reason: str) -> Unreachable:
    """It answers, and does not let this user in."""
    return Unreachable(
        f"{target.address} refuses the login: {reason}",
        code="ssh.login-refused",
        where=target.where,
        hint="check ansible_user, the key and the agent: the same settings must let `ssh` in",
    )


def unreadable(target: Target, error: OSError) -> Unreachable:
    """A known_hosts file cannot be read."""
    return Unreachable(f"cannot read its known_hosts file: {error}", code="ssh.known-hosts", where=target.where)


def _through(target: Target, text: str) -> str:
    return f"{text} (through {target.jump})" if target.jump else text


_CONNECT = re.compile(r"connect to (?:host|address) (\S+?) port (\d+): (.+)")
_RESOLVE = re.compile(r"Could not resolve hostname ([^\s:]+): (.+)")
_DENIED = re.compile(r"^(?:(\S+?)@)?([^\s@:]+): Permission denied \((.*)\)\.", re.MULTILINE)
_UNKNOWN = re.compile(r"No (\S+) host key is known for (.+?) and you have requested strict checking")
_FORWARD = re.compile(r"open failed: (.+)")
_CHANGED = re.compile(r"host key for (.+?) has changed and you have requested strict checking")
_OUTER = ("UNKNOWN port 65535", "kex_exchange_identification")
_TIMEOUT = ("timed out", "Timeout")


def explained(target: Target, log: str) -> Unreachable:
    """Why OpenSSH's client could not log in, from what it printed: the server's own trouble, or its jump host's."""
    lines = [line.strip() for line in log.replace("\r", "").splitlines() if line.strip()]
    text = "\n".join(lines)
    return (
        _jump_host(target, text) or _host_key(target, text) or _login(target, text) or _connection(target, text, lines)
    )


def _jump_host(target: Target, text: str) -> Unreachable | None:
    """What a jump host said, or was found to be; None where the server itself is concerned."""
    if target.jump is None:
        return None
    other = [
        (found[1], found[3].strip()) for found in _CONNECT.finditer(text) if found[1] not in {target.host, "UNKNOWN"}
    ]
    other += [(found[1], found[2]) for found in _RESOLVE.finditer(text)]
    other += [
        (found[2], f"refuses the login ({found[3]})")
        for found in _DENIED.finditer(text)
        if found[2] not in {target.host, target.destination}
    ]
    other += [
        (found[2], "its host key is not in known_hosts")
        for found in _UNKNOWN.finditer(text)
        if found[2] not in {target.host, target.host_key_name}
    ]
    forward = _FORWARD.search(text)
    if forward:
        reason = forward[1].removeprefix("connect failed: ")
        return Unreachable(
            f"the jump host {target.jump} cannot connect to {target.host} port {target.port}: {reason}",
            code="ssh.jump-host-forward",
            where=target.where,
        )
    closed = "UNKNOWN port 65535" in text
    if not other and closed:
        lines = [line for line in text.splitlines() if not any(word in line for word in _OUTER)]
        other = [(target.jump, lines[-1] if lines else "it closed the connection")]
    if not other:
        return None
    host, reason = other[0]
    return Unreachable(
        f"the jump host {host}: {reason}",
        code="ssh.jump-host",
        where=target.where,
        hint=f"`ssh {shlex.quote(host)}` shows it; the server itself was not asked",
    )


def _host_key(target: Target, text: str) -> Unreachable | None:
    files = ", ".join(str(path) for path in target.known_hosts) or "~/.ssh/known_hosts"
    name = shlex.quote(target.host_key_name)
    if "revoked" in text.lower():
        return Unreachable(
            f"the host key of {target.address} is revoked",
            code="ssh.host-key-revoked",
            where=target.where,
            hint=f"known_hosts, or RevokedHostKeys, names it; {files}",
        )
    if "IDENTIFICATION HAS CHANGED" in text or _CHANGED.search(text):
        return Unreachable(
            f"the host key of {target.address} is not the one in {files}",
            code="ssh.host-key-changed",
            where=target.where,
            hint="if the server was reinstalled, check its key on its console, then: "
            f"ssh-keygen -R {name} and add the new one",
        )
    if _UNKNOWN.search(text) or "Host key verification failed" in text:
        return Unreachable(
            f"the host key of {target.address} is not in {files}",
            code="ssh.host-key-unknown",
            where=target.where,
            hint=f"compare it on the server's console, then: ssh-keyscan -p {target.port} {target.host} >> {files}",
        )
    return None


def _login(target: Target, text: str) -> Unreachable | None:
    denied = _DENIED.search(text)
    if denied is None and "Too many authentication failures" not in text:
        return None
    return login_refused(target, f"it accepts {denied[3]}" if denied else "too many keys were offered")


def _connection(target: Target, text: str, lines: list[str]) -> Unreachable:
    if any(word in text for word in _TIMEOUT):
        return no_answer(target)
    found = _CONNECT.search(text) or _RESOLVE.search(text)
    reason = found[found.re.groups] if found else lines[-1] if lines else "ssh ended without a word"
    return no_connection(target, reason)
