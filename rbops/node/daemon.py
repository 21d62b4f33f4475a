"""``rbops-node daemon``: the routing daemon's files, where it alone can read them, and what it says of itself.

Configuration and keys are root's below /etc/rbops. The daemon runs as a user of its own and reads copies in its
runtime folder, which go when it ends.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.common.daemons import PORT_FILES
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.daemonuser import owner, put, silent
from rbops.node.devices import TABLE, VRF
from rbops.node.netlink import dump_routes

__all__ = ["BIRD", "Bird", "parse_protocols"]

BIRD = 12
"""The protocol number of BIRD's routes in the kernel."""

_USER = "bird"
_FILES = ("bird.conf", "own.conf")
_ANSWER_S = 20
_ERRORS = "89"
_PROTOCOL = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+(?: [0-9:.]+)?)(?:\s+(.*))?")
_COUNT = re.compile(r"\s+Routes:\s+(?:(\d+) imported)?(?:, (\d+) filtered)?(?:, )?(?:(\d+) exported)?")
_NUMBERS = {"Neighbor address": "neighbor", "Neighbor AS": "as", "Description": "description", "BGP state": "state"}


@dataclass(frozen=True, slots=True)
class Bird:
    """BIRD on this server; tests put other folders in."""

    etc: Path = Path("/etc/rbops/bird")
    run: Path = Path("/run/rbops-bird")
    devices: Path = Path("/sys/class/net")
    owner: tuple[int, int] | None = field(default=None)

    def prepare(self, ports: Mapping[int, str]) -> None:
        """Copy what BIRD reads; ``ports``: external port -> its device. Mismatch (3) where BIRD is not installed."""
        try:
            self.run.mkdir(mode=0o750, exist_ok=True)
            for name in _FILES:
                path = self.etc / name
                if path.exists():
                    self._put(name, path.read_bytes())
                else:
                    (self.run / name).unlink(missing_ok=True)
            keys = self.etc / "keys.conf"
            self._put("keys.conf", keys.read_bytes() if keys.exists() else b"# none\n")
        except FileNotFoundError as error:
            raise Mismatch(
                f"{error.filename} is not there", code="node.daemon-files", hint="`rbops apply` installs it"
            ) from error
        in_vrf = (self.devices / VRF).exists()
        for left in (path for kind in PORT_FILES for path in self.run.glob(f"{kind}[0-9]*.conf")):
            left.unlink()
        for port, device in ports.items():
            for kind, text in PORT_FILES.items():
                self._put(f"{kind}{port}.conf", f"{text.format(device)}\n".encode())
        self._put("vrf.conf", f'vrf "{VRF}";\n'.encode() if in_vrf else b"# the router's table by rules\n")

    def recovery(self) -> None:
        """Say whether routes of an earlier BIRD are to be kept until its sessions are back."""
        left = dump_routes(BIRD, TABLE)
        self._put("environment", b"RECOVERY=-R\n" if left else b"RECOVERY=\n")

    def reload(self, ports: Mapping[int, str]) -> str:
        """Have it read its files again; what it says. CheckFailed (1) with its words where it refuses them."""
        self.prepare(ports)
        said = list(self.ask("configure"))
        wrong = [text for code, text in said if code[0] in _ERRORS]
        if wrong:
            raise CheckFailed(
                f"bird refuses its configuration: {'; '.join(wrong)}",
                code="node.daemon-refused",
                where=Where(file=str(self.etc / "bird.conf")),
            )
        return said[-1][1] if said else ""

    def status(self) -> dict[str, Any] | None:
        """Its protocols with their states and routes; None where it does not run."""
        if not (self.run / "bird.ctl").exists():
            return None
        try:
            return {"daemon": "bird", "sessions": parse_protocols(self.ask("show protocols all"))}
        except CheckFailed as error:
            return {"daemon": "bird", "sessions": [], "error": str(error)}

    def ask(self, command: str) -> Iterator[tuple[str, str]]:
        """(code, text) of each line that BIRD answers to a command, without its greeting."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(_ANSWER_S)
                link.connect(str(self.run / "bird.ctl"))
                with link.makefile("r", encoding="utf-8", errors="replace") as lines:
                    list(_answer(lines))
                    link.sendall(f"{command}\n".encode())
                    yield from _answer(lines)
        except OSError as error:
            raise silent("bird", error.strerror or str(error)) from error

    def _put(self, name: str, data: bytes) -> None:
        put(self.run / name, data, self.owner or owner(_USER, "bird"))


def _answer(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """``1002-text`` and `` text`` are followed by more, ``0013 text`` is the last one."""
    code = "0000"
    for line in lines:
        text = line.rstrip("\n")
        if text[:1] in (" ", "+"):
            yield code, text[1:]
            continue
        code = text[:4]
        yield code, text[5:]
        if text[4:5] == " ":
            return


def parse_protocols(lines: Iterator[tuple[str, str]]) -> list[dict[str, Any]]:
    """What ``show protocols all`` says of sessions: BGP, OSPF and BFD."""
    found: list[dict[str, Any]] = []
    now: dict[str, Any] | None = None
    for code, text in lines:
        if code == "1002":
            match = _PROTOCOL.match(text)
            now = None
            if match and match[2] in ("BGP", "OSPF"):
                info = " ".join((match[6] or "").split())
                now = {"name": match[1], "protocol": match[2].lower(), "up": match[4] == "up", "since": match[5]}
                now |= {"info": info, "imported": 0, "filtered": 0, "exported": 0}
                found.append(now)
        elif code == "1006" and now is not None:
            _detail(now, text)
    return [session for session in found if not _waits(session, found)]


def _waits(session: dict[str, Any], among: list[dict[str, Any]]) -> bool:
    """Whether it only waits for the next router of its port, beside the session of one that came."""
    name = re.compile(f"{re.escape(session['name'])}_[0-9]+")
    return session.get("state") == "Passive" and any(name.fullmatch(other["name"]) for other in among)


def _detail(session: dict[str, Any], text: str) -> None:
    if match := _COUNT.match(text):
        for name, value in zip(("imported", "filtered", "exported"), match.groups(), strict=True):
            session[name] += int(value or 0)  # of each family
        return
    label, _, value = text.strip().partition(":")
    if label in _NUMBERS:
        session[_NUMBERS[label]] = int(value) if label == "Neighbor AS" else value.strip()
