"""``rbops-node ike``: strongSwan on this server, for the tunnels whose keys it negotiates.

The daemon (charon-systemd) runs in the VRF of the data ports and is given connections and secrets over its control
socket, so that they are in no file but those of root's below /etc/rbops. It installs associations and policies for a
tunnel's interface alone; while it has none there, the interface drops what goes in.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.daemonuser import not_installed
from rbops.node.devices import VRF
from rbops.node.schema.ipsec import NodeTunnel, TunnelConfig
from rbops.node.state import write_whole
from rbops.node.vici import Vici

__all__ = ["Ike", "parse_connections", "reasons"]

_LISTS = frozenset({"local_addrs", "remote_addrs", "proposals", "local_ts", "remote_ts", "esp_proposals"})
"""Keys of swanctl.conf whose values are lists, with commas between."""
_WAIT_S, _STEP_S = 15.0, 0.1
_LOG_BYTES, _READ_BYTES = 1 << 20, 1 << 16
_SHORTEN_S = 10.0
_UP = frozenset({"INSTALLED", "REKEYING", "REKEYED", "UPDATING"})
_OF_CONNECTION = re.compile(r"<(t[0-9]+)\|[0-9]+>")
_REASONS = (
    ("MAC mismatched", "the peer has another pre-shared key"),
    ("received AUTHENTICATION_FAILED", "the peer refuses the pre-shared key, or the identity local_id"),
    ("no shared key found", "the peer calls itself otherwise than peer_id"),
    ("constraint check failed", "the peer calls itself otherwise than peer_id"),
    ("NO_PROPOSAL_CHOSEN", "no cipher that both ends have"),
    ("no acceptable", "no cipher that both ends have"),
    ("TS_UNACCEPTABLE", "the peer has other networks than sources and prefixes"),
    ("traffic selectors", "the peer has other networks than sources and prefixes"),
    ("giving up after", "the peer does not answer"),
)


@dataclass(frozen=True, slots=True)
class Ike:
    """strongSwan on this server; tests put other places in."""

    etc: Path = Path("/etc/rbops/ike")
    run: Path = Path("/run/rbops-ike")
    socket: Path = Path("/run/charon.vici")
    program: Path = Path("/usr/sbin/charon-systemd")
    devices: Path = Path("/sys/class/net")

    def command(self) -> tuple[str, ...]:
        """How the daemon is started. Mismatch (3) where it is not installed."""
        if not self.program.exists():
            raise not_installed("ike")
        in_vrf = (self.devices / VRF).exists()
        return (*(("ip", "vrf", "exec", VRF) if in_vrf else ()), str(self.program))

    def become(self) -> None:
        """Be the daemon from now on, beside a child that keeps its log short."""
        command, parent = self.command(), os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:
                self.shorten_log()
                time.sleep(_SHORTEN_S)
            os._exit(0)
        os.execvp(command[0], command)  # noqa: S606 - a list, and the unit's only purpose

    def load(self, config: TunnelConfig | None) -> dict[str, list[str]]:
        """Make the daemon's connections and secrets those of the files; established ones that are equal live on.

        What is not planned any more, or otherwise, is ended. CheckFailed (1) with the daemon's words if it refuses.
        """
        planned, tunnels = self._planned(), () if config is None else config.negotiated
        secrets = self._secrets()
        with self._connected() as daemon:
            self._load_secrets(daemon, tunnels, secrets)
            have = set(daemon.ask("get-conns").get("conns", ()))
            known = self._known()
            texts = {name: json.dumps(planned[name], sort_keys=True) for name in planned}
            changed = [name for name in planned if name in have and known.get(name) != texts[name]]
            gone = sorted(have - planned.keys())
            for name in (*gone, *changed):
                # Unloaded first: a connection that is there begins anew.
                daemon.ask("unload-conn", {"name": name})
                daemon.ask("terminate", {"ike": name, "force": "yes", "timeout": "2000"})
            new = [name for name in planned if name not in have or name in changed]
            for name in new:
                self._accepted(daemon.ask("load-conn", {name: planned[name]}), name)
        if self.run.is_dir():
            write_whole(self.run / "loaded.json", json.dumps(texts).encode(), 0o600)
        return {"loaded": new, "ended": [*gone, *changed], "kept": sorted(planned.keys() - set(new))}

    def _load_secrets(self, daemon: Vici, tunnels: tuple[NodeTunnel, ...], secrets: Mapping[int, bytes]) -> None:
        wanted = set()
        for tunnel in tunnels:
            if tunnel.ike is None:
                continue
            name = f"rbops-t{tunnel.number}"
            if tunnel.number not in secrets:
                raise self._wrong("keys.conf", f"no secret for tunnel {tunnel.number}")
            owners = (tunnel.ike.local_id, tunnel.ike.peer_id)
            data = secrets[tunnel.number]
            self._accepted(daemon.ask("load-shared", {"id": name, "type": "IKE", "data": data, "owners": owners}), name)
            wanted.add(name)
        for name in set(daemon.ask("get-shared").get("keys", ())) - wanted:
            daemon.ask("unload-shared", {"id": name})

    def _accepted(self, answer: Mapping[str, Any], name: str) -> None:
        if answer.get("success") != "yes":
            said = str(answer.get("errmsg") or "it gives no reason")
            raise CheckFailed(
                f"strongSwan refuses {name}: {said}",
                code="node.daemon-refused",
                where=Where(file=str(self.etc / "ike.conf")),
            )

    def _connected(self) -> Vici:
        """The daemon has its socket a moment after its start."""
        until = time.monotonic() + _WAIT_S
        while True:
            try:
                return Vici(self.socket)
            except CheckFailed:
                if time.monotonic() > until:
                    raise
            time.sleep(_STEP_S)

    def _planned(self) -> dict[str, Any]:
        return dict(parse_connections(self._read("ike.conf")).get("connections", {}))

    def _secrets(self) -> dict[int, bytes]:
        """Tunnel's number -> pre-shared key."""
        try:
            lines = [line.split() for line in self._read("keys.conf").splitlines()]
            return {int(number): bytes.fromhex(word) for number, kind, word in lines if kind == "psk"}
        except ValueError:
            raise self._wrong("keys.conf", "it holds no secrets") from None

    def _known(self) -> dict[str, str]:
        try:
            found = json.loads((self.run / "loaded.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self, name: str) -> str:
        try:
            return (self.etc / name).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise self._wrong(name, getattr(error, "strerror", None) or "not valid UTF-8") from None

    def _wrong(self, name: str, reason: str) -> Mismatch:
        return Mismatch(
            f"IKE's files cannot be used: {reason}",
            code="node.daemon-files",
            where=Where(file=str(self.etc / name)),
            hint="`rbops apply` installs them",
        )

    def status(self, config: TunnelConfig | None) -> dict[int, dict[str, Any]]:
        """Tunnel's number -> its ``state`` (up, connecting, down, no daemon), and why it is not up, where known.

        Of one that is up also the seconds since IKE was established, and until the tunnel's keys are replaced.
        """
        tunnels = () if config is None else config.negotiated
        if not tunnels:
            return {}
        try:
            with Vici(self.socket) as daemon:
                listed = daemon.stream("list-sas", "list-sa")
        except CheckFailed as error:
            return {tunnel.number: {"state": "no daemon", "error": error.message} for tunnel in tunnels}
        said = reasons(self._log())
        return {tunnel.number: _state(f"t{tunnel.number}", listed, said) for tunnel in tunnels}

    def _log(self) -> str:
        try:
            with (self.run / "charon.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def shorten_log(self) -> None:
        """It lies in memory: strangers who try may not fill that."""
        path = self.run / "charon.log"
        try:
            if path.stat().st_size > _LOG_BYTES:
                os.truncate(path, 0)
        except OSError:
            return


def _state(name: str, listed: list[dict[str, Any]], said: Mapping[str, str]) -> dict[str, Any]:
    own = [each[name] for each in listed if name in each]
    for ike in own:
        up = [child for child in ike.get("child-sas", {}).values() if child.get("state") in _UP]
        if ike.get("state") == "ESTABLISHED" and up:
            newest = min(up, key=lambda child: int(child.get("install-time", 0)))
            rekey = {"rekey_s": int(newest["rekey-time"])} if "rekey-time" in newest else {}
            return {"state": "up", "established_s": int(ike.get("established", 0)), **rekey}
    found: dict[str, Any] = {"state": "connecting" if own else "down"}
    return found | ({"error": said[name]} if name in said else {})


def reasons(log: str) -> dict[str, str]:
    """Connection -> what the log says last of why it is not up; nothing of one that was established since."""
    found: dict[str, str] = {}
    for line in log.splitlines():
        named = _OF_CONNECTION.search(line)
        if named is None:
            continue
        if "CHILD_SA" in line and " established with SPIs" in line:
            found.pop(named[1], None)
        for words, reason in _REASONS:
            if words in line:
                found[named[1]] = reason
                break
    return found


def parse_connections(text: str) -> dict[str, Any]:
    """The sections of a file in the form of swanctl.conf as rbops writes it: a brace or a key a line."""
    found: dict[str, Any] = {}
    stack = [found]
    for line in _lines(text):
        if line == "}":
            if len(stack) == 1:
                break
            stack.pop()
        elif line.endswith("{"):
            new: dict[str, Any] = {}
            stack[-1][line[:-1].strip()] = new
            stack.append(new)
        else:
            key, _, value = (part.strip() for part in line.partition("="))
            stack[-1][key] = value.split(",") if key in _LISTS else value
    return found


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped
