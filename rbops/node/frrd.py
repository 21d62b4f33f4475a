"""FRR on this server: its configuration where it alone can read it, and what it says of its sessions.

Configuration and keys are root's below /etc/rbops. The daemons run as a user of their own, each with a socket in their
runtime folder, which goes when they end; :mod:`rbops.node.frrun` starts them there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.common.frrfile import MARK, filled, passwords
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.daemonuser import not_installed, owner, put, silent
from rbops.node.devices import VRF
from rbops.node.frrchange import change
from rbops.node.frrospf import ospf_session

__all__ = ["Frr", "Surroundings", "load", "sessions", "vtysh"]

PROGRAMS = Path("/usr/lib/frr")
_USER = "frr"
_ANSWER_S = 20.0
_LONGEST_S = 120.0
_ALWAYS = ("zebra", "mgmtd", "staticd", "bgpd", "bfdd")
_FOR = {"ospf": "ospfd", "ospf6": "ospf6d", "isis": "isisd", "rip": "ripd", "ripng": "ripngd"}
_ROUTER = re.compile(r"^router ([a-z0-9]+)\b", re.MULTILINE)
_DESCRIBED = re.compile(r"(\w+) \((.*)\)")
_SECRET = re.compile(r"\b(password|md5|key-string|authentication-key)\s+\S+")
_RETURNED = re.compile(rb"\0\0\0(.)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration has to know of the server: port -> device, and the ways to other servers' ports."""

    devices: Mapping[int, str]
    routes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frr:
    """FRR on this server; tests put other folders in."""

    etc: Path = Path("/etc/rbops/frr")
    run: Path = Path("/run/rbops-frr")
    links: Path = Path("/sys/class/net")
    programs: Path = PROGRAMS
    owner: tuple[int, int] | None = field(default=None)

    @property
    def in_vrf(self) -> bool:
        """Whether the data ports are in the VRF."""
        return (self.links / VRF).exists()

    def prepare(self, around: Surroundings) -> None:
        """Write what its daemons read. Mismatch (3) where FRR is not installed; CheckFailed (1) as :meth:`reload`."""
        self.run.mkdir(mode=0o750, exist_ok=True)
        text, keys = self._text(around)
        self._put("vtysh.conf", "")
        self._checked(text, keys)
        self._write(text)

    def reload(self, around: Surroundings) -> str:
        """Have it change to its files as they are now; what was done.

        CheckFailed (1) with its words where it refuses them. Where a line cannot be changed while it runs, it starts
        again, and its routes stay meanwhile.
        """
        old = (self.run / "frr.conf").read_text(encoding="utf-8") if self._runs() else ""
        text, keys = self._text(around)
        self._checked(text, keys)
        daemons = self._daemons(text)
        lines = change(old, text)
        if old and not lines:
            self._write(text)
            return "unchanged"
        self._write(text)
        # Of a user's own file nobody knows what a line's absence means beside others.
        if not (MARK in old and MARK in text) or daemons != self._daemons(old):
            return self._again()
        self._put("change.conf", lines)
        try:
            wrong = load(self.run, "change.conf", keys)
        finally:
            (self.run / "change.conf").unlink()
        return self._again() if wrong else "changed"

    def status(self) -> dict[str, Any] | None:
        """Its sessions with their states and routes; None where it does not run."""
        if not (self.run / "bgpd.vty").exists():
            return None
        try:
            found = sessions(self._said("bgpd", "show bgp vrf all summary json"))
            if self._speaks("ospfd"):
                near = self._said("ospfd", "show ip ospf vrf all neighbor json")
                routes = self._said("zebra", f"show ip route vrf {VRF} summary json")
                found.append(ospf_session(near, routes, time.time()))
        except (CheckFailed, ValueError) as error:
            return {"daemon": "frr", "sessions": [], "error": str(error)}
        return {"daemon": "frr", "sessions": found}

    def _said(self, daemon: str, question: str) -> Any:
        return json.loads(ask(self.run / f"{daemon}.vty", question) or "{}")

    def _speaks(self, daemon: str) -> bool:
        """Whether it is one of those that run; a socket may be left of an earlier one."""
        path = self.run / "daemons"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return any(line.split()[0] == daemon for line in lines)

    def _runs(self) -> bool:
        return (self.run / "bgpd.vty").exists() and (self.run / "frr.conf").exists()

    def _text(self, around: Surroundings) -> tuple[str, tuple[str, ...]]:
        """The configuration with all in it, and the passwords."""
        try:
            text = (self.etc / "frr.conf").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise Mismatch(
                f"{error.filename} is not there", code="node.daemon-files", hint="`rbops apply` installs it"
            ) from error
        keys = self.etc / "keys.conf"
        words = passwords(keys.read_text(encoding="utf-8")) if keys.exists() else {}
        vrf = VRF if self.in_vrf else None
        made = filled(text, words, vrf=vrf, devices=around.devices, routes=() if vrf else around.routes)
        return made, tuple(words.values())

    def _checked(self, text: str, keys: tuple[str, ...]) -> None:
        self._put("new.conf", text)
        try:
            wrong = vtysh(self.run, ("-C", "-f", str(self.run / "new.conf")), keys)
        finally:
            (self.run / "new.conf").unlink()
        if wrong:
            raise CheckFailed(
                f"frr refuses its configuration: {wrong}",
                code="node.daemon-refused",
                where=Where(file=str(self.etc / "frr.conf")),
            )

    def _write(self, text: str) -> None:
        self._put("frr.conf", text)
        self._put("daemons", "".join(f"{shlex.join(each)}\n" for each in self._daemons(text)))

    def _daemons(self, text: str) -> list[list[str]]:
        """The programs that a configuration needs, with the options that it asks for."""
        asked = [_FOR[word] for word in _ROUTER.findall(text) if word in _FOR]
        names = [name for name in (*_ALWAYS, *dict.fromkeys(asked)) if (self.programs / name).exists()]
        # Routes of an earlier zebra stay for so long, until the sessions are back.
        kept = ["-K", "120"] if re.search(r"^ bgp graceful-restart$", text, re.MULTILINE) else []
        own = {"zebra": kept, "bfdd": ["--bfdctl", str(self.run / "bfdd.sock")]}
        return [[name, *own.get(name, ())] for name in names]

    def _again(self) -> str:
        """Have all daemons start again, and wait until they have their configuration."""
        ready = self.run / "ready"
        deadline = time.monotonic() + _LONGEST_S
        try:
            main = int((self.run / "main.pid").read_text(encoding="ascii"))
            ready.unlink(missing_ok=True)
            os.kill(main, signal.SIGUSR1)
            while not ready.exists():
                os.kill(main, 0)
                if time.monotonic() > deadline:
                    raise silent("frr", "it did not start again")
                time.sleep(0.1)
        except (OSError, ValueError) as error:
            raise silent("frr", "it did not start again") from error
        return "started again"

    def _put(self, name: str, text: str) -> None:
        put(self.run / name, text.encode(), self.owner or owner(_USER, "frr"))


def load(folder: Path, name: str, keys: tuple[str, ...]) -> str:
    """Give the daemons in ``folder`` a file of lines; what they say against it, empty where they take all."""
    return vtysh(folder, ("-f", str(folder / name)), keys)


def vtysh(folder: Path, words: tuple[str, ...], keys: tuple[str, ...]) -> str:
    """What vtysh says where it fails, without passwords in it; empty where it does not. Mismatch (3) without it."""
    command = ["vtysh", "--config_dir", str(folder), "--vty_socket", str(folder), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LONGEST_S, errors="replace"
        )
    except FileNotFoundError:
        raise not_installed("frr") from None
    except subprocess.TimeoutExpired:
        return f"vtysh did not end within {_LONGEST_S:.0f} s"
    if not done.returncode:
        return ""
    said = "; ".join(line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip())
    for key in sorted(keys, key=len, reverse=True):
        said = said.replace(key, "(not shown)")
    said = _SECRET.sub(r"\1 (not shown)", said)
    return said[-1000:].replace(f"{folder}/", "") or f"vtysh ended with {done.returncode}"


def ask(path: Path, question: str) -> str:
    """A daemon's answer at its socket, as vtysh asks. CheckFailed (1) where it gives none."""
    data = b""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_ANSWER_S)
            link.connect(str(path))
            link.sendall(question.encode() + b"\0")
            while not (end := _RETURNED.search(data[-4:])):
                more = link.recv(1 << 16)
                if not more:
                    raise silent("frr", "it closed its socket")
                data += more
    except OSError as error:
        raise silent("frr", error.strerror or str(error)) from error
    if end[1] != b"\0":
        raise silent("frr", data[:-4].decode("utf-8", "replace").strip() or "it gave no reason")
    return data[:-4].decode("utf-8", "replace")


def sessions(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of ``show bgp vrf all summary json``, families together; FRR does not count what filters refuse."""
    found: dict[str, dict[str, Any]] = {}
    for address, peer in _peers(said):
        match = _DESCRIBED.fullmatch(str(peer.get("desc", "")))
        state, up = str(peer.get("state", "")), peer.get("state") == "Established"
        new = {
            "name": match[1] if match else address,
            "protocol": "bgp",
            "up": up,
            "since": _since(peer) if up else "-",
            "info": state,
            "imported": 0,
            "filtered": None,
            "exported": 0,
            "neighbor": address,
            "as": peer.get("remoteAs"),
            "description": match[2] if match else str(peer.get("desc", "")),
            "state": state,
        }
        session = found.setdefault(address, new)
        session["imported"] += int(peer.get("pfxRcd", 0))
        session["exported"] += int(peer.get("pfxSnt", 0))
    return list(found.values())


def _peers(said: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of each VRF and each family."""
    for name, part in said.items():
        if isinstance(part, dict):
            if name == "peers":
                yield from part.items()
            else:
                yield from _peers(part)


def _since(peer: Mapping[str, Any]) -> str:
    epoch = peer.get("peerUptimeEstablishedEpoch")
    return "-" if not isinstance(epoch, int) else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
